"""What stands in a document: of runs that no task function ended, and of all with `result_extended`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from celeriac import states
from celeriac.documents import Document, describe_exception
from celeriac.engines.base import Record
from celeriac.messages import Malformed, Message
from celeriac.request import Context

__all__ = ["extended", "failure_record"]


def failure_record(
    message: Message | Malformed,
    token: int,
    error: BaseException,
    encode: Callable[[Document], bytes],
    ttl_s: float | None,
    now: str,
) -> Record | None:
    """The FAILURE document that lets nobody wait for ever, where the id is readable and results are wanted."""
    if message.id is None:
        return None
    if isinstance(message, Message) and message.headers.get("ignore_result"):
        return None
    document = Document(message.id, states.FAILURE, describe_exception(error), date_done=now)
    return Record(message.id, encode(document), ttl_s, token)


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
