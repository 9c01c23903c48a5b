"""The stored result of a task, in Celery's form, and exceptions as data."""

from celeriac.documents.document import Document
from celeriac.documents.errors import describe_exception, rebuild_exception

__all__ = ["Document", "describe_exception", "rebuild_exception"]
