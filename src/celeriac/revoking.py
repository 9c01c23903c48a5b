"""Revoking tasks: the store remembers what must not run, and what waits is taken out at once.

Two steps, so that nothing slips through: first the mark, which every later claim sees, then the search. What a search
cannot see (a message on its way, a retry that a run is about to send) is stopped when it is claimed.
"""

from __future__ import annotations

import signal as signals
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from celeriac import states
from celeriac.clock import timestamp
from celeriac.documents import Document, describe_exception
from celeriac.engines.base import Record, Revocation, Waiting
from celeriac.exceptions import DecodeError, TaskRevokedError
from celeriac.messages import Body, Message, decode_body

if TYPE_CHECKING:
    from celeriac.app import Celery

__all__ = ["revoke", "revoked_record", "signal_name", "withdraw"]

T = TypeVar("T")

_MARKED_TOGETHER = 1000
_WITHDRAWN_TOGETHER = 100
#: A queue may hold millions. What is not found in this time is stopped when it is claimed.
_LONGEST_SEARCH_S = 5.0


def revoke(app: Celery, task_ids: Iterable[str], *, expires_s: float | None = None, signal: str | None = None) -> int:
    """Revoke tasks; returns how many messages were taken out of queues.

    Raises `OperationalError` when the store is away; then some may have been revoked, and doing it again is safe.
    """
    unique = list(dict.fromkeys(task_ids))
    expires = time.time() + (app.conf.revoke_expires if expires_s is None else expires_s)
    taken = 0
    for ids in _batched(unique, _MARKED_TOGETHER):
        fence = app.broker.revoke([Revocation(task_id, expires, signal) for task_id in ids])
        end = time.monotonic() + _LONGEST_SEARCH_S
        for found in app.broker.search(ids):
            taken += withdraw(app, found, fence)
            if time.monotonic() > end:
                break
    return taken


def withdraw(app: Celery, found: Sequence[Waiting], fence: int) -> int:
    """Take messages out, each with the result REVOKED; returns how many were still there.

    Where results lie in another store they are written first. A run that begins in that moment has a newer fence, and
    replaces them.
    """
    broker, results, taken = app.broker, app.results, 0
    shared = broker.shares_store_with(results)
    for some in _batched(found, _WITHDRAWN_TOGETHER):
        pairs = [(waiting, _record(app, waiting, fence)) for waiting in some]
        if not shared:
            results.store([record for _, record in pairs if record is not None])
            pairs = [(waiting, None) for waiting, _ in pairs]
        taken += sum(broker.withdraw(pairs))
    return taken


def _batched(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (items[at : at + size] for at in range(0, len(items), size))


def _record(app: Celery, waiting: Waiting, fence: int) -> Record | None:
    message = waiting.message
    if not isinstance(message, Message):
        return None
    try:
        body = decode_body(message, app.accept)
    except DecodeError:
        body = Body([], {})
    return revoked_record(app, message, body, why="revoked", queue=waiting.queue, fence=fence)


def revoked_record(
    app: Celery, message: Message, body: Body, *, why: str, queue: str, fence: int, worker: str | None = None
) -> Record | None:
    """The result of a task that did not run, unless it keeps none."""
    if message.headers.get("ignore_result"):
        return None
    described = describe_exception(TaskRevokedError(why), app.conf.result_serializer)
    now, parent_id = timestamp(app.clock.time()), message.headers.get("parent_id")
    document = Document(message.id, states.REVOKED, described, date_done=now, parent_id=parent_id)
    if app.conf.result_extended:
        document = replace(
            document,
            name=message.task,
            args=body.args,
            kwargs=body.kwargs,
            worker=worker,
            retries=message.retries,
            queue=queue,
        )
    return Record(message.id, app.encode_document(document), app.result_ttl_s, fence)


def signal_name(signal: str | int | None) -> str:
    """`TERM`, `SIGTERM` or 15 as SIGTERM, which is also what None stands for; raises `ValueError` for what is none."""
    if signal is None:
        return "SIGTERM"
    try:
        if isinstance(signal, int) or signal.isdigit():
            return signals.Signals(int(signal)).name
        name = signal.upper()
        return signals.Signals[name if name.startswith("SIG") else f"SIG{name}"].name
    except (ValueError, KeyError):
        raise ValueError(f"there is no signal {signal!r}; write SIGTERM, SIGINT, SIGQUIT, SIGHUP or SIGKILL") from None
