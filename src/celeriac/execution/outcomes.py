"""Documents of runs that no task function ended."""

from __future__ import annotations

from celeriac import states
from celeriac.documents import Document, describe_exception
from celeriac.engines.base import Record
from celeriac.messages import Malformed, Message

__all__ = ["failure_record"]


def failure_record(
    message: Message | Malformed, token: int, error: BaseException, ttl_s: float | None, now: str
) -> Record | None:
    """The FAILURE document that lets nobody wait for ever, where the id is readable and results are wanted."""
    if message.id is None:
        return None
    if isinstance(message, Message) and message.headers.get("ignore_result"):
        return None
    document = Document(message.id, states.FAILURE, describe_exception(error), date_done=now)
    return Record(message.id, document.encode(), ttl_s, token)
