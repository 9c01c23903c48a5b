"""What stands in a document: of runs that no task function ended, and of all with `result_extended`."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from celeriac import states
from celeriac.app import Celery
from celeriac.clock import timestamp
from celeriac.documents import Document, describe_exception
from celeriac.engines.base import Bury, Commit, Lease, Record
from celeriac.messages import Malformed, Message
from celeriac.past import Past, story
from celeriac.request import Context

__all__ = ["extended", "failure_record", "failures", "with_history"]


def failure_record(
    message: Message | Malformed,
    token: int,
    error: BaseException,
    encode: Callable[[Document], bytes],
    ttl_s: float | None,
    now: str,
    state: str = states.FAILURE,
) -> Record | None:
    """The document that lets nobody wait for ever, where the id is readable and results are wanted."""
    if message.id is None:
        return None
    if isinstance(message, Message) and message.headers.get("ignore_result"):
        return None
    document = Document(message.id, state, describe_exception(error), date_done=now)
    return Record(message.id, encode(document), ttl_s, token)


def failures(app: Celery) -> Callable[[Lease, BaseException], Record | None]:
    """Makes the FAILURE documents of runs under a lease, as `failure_record` does."""

    def record(lease: Lease, error: BaseException) -> Record | None:
        now = timestamp(app.clock.time())
        return failure_record(lease.message, lease.token, error, app.encode_document, app.failure_ttl_s, now)

    return record


def extended(document: Document, context: Context) -> Document:
    """With what `result_extended` adds."""
    return replace(
        document,
        name=context.task,
        args=context.args,
        kwargs=context.kwargs,
        worker=context.hostname,
        retries=context.retries,
        queue=(context.delivery_info or {}).get("routing_key"),
    )


def with_history(commit: Commit, past: Past) -> Commit:
    """A letter tells of the earlier runs too, before what this one left."""
    if not past.history or not isinstance(commit.settle, Bury):
        return commit
    return replace(commit, settle=replace(commit.settle, detail=story(past, commit.settle.detail)))
