"""How calls become messages, and how messages leave a process.

A process publishes through one `Publisher`. Callers that come at the same time share a transaction or round trip: whoever
gets to send takes along what the others have queued. Every publish carries a receipt, so a publish that is repeated after
a lost answer adds nothing.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

from celeriac.clock import Clock, utc
from celeriac.engines.base import Broker, Receipt
from celeriac.exceptions import EncodeError, OperationalError
from celeriac.messages import LOWEST_PRIORITY, Body, Message, Outgoing, encode_body
from celeriac.request import Run
from celeriac.retries import RetryPolicy
from celeriac.serialization import unencodable

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future

__all__ = ["CallOptions", "Publisher", "make_outgoing"]

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class CallOptions:
    """The options of one call, checked. Times are aware."""

    task_id: str
    queue: str
    priority: int = 0
    eta: datetime | None = None
    expires: datetime | None = None
    ignore_result: bool = False

    @classmethod
    def of(
        cls,
        *,
        clock: Clock,
        zone: tzinfo,
        queue: Any,
        task_id: Any = None,
        priority: Any = None,
        countdown: Any = None,
        eta: Any = None,
        expires: Any = None,
        ignore_result: bool = False,
    ) -> CallOptions:
        """From what a caller wrote; raises `TypeError` or `ValueError` naming the option."""
        if priority is None:
            priority = 0
        if isinstance(priority, bool) or not isinstance(priority, int) or not 0 <= priority <= LOWEST_PRIORITY:
            raise ValueError(f"priority must be a whole number from 0 (first) to {LOWEST_PRIORITY}, not {priority!r}")
        if not _is_name(queue):
            raise ValueError(f"queue must be a name, not {queue!r}")
        if task_id is not None and not _is_name(task_id):
            raise ValueError(f"task_id must be a non-empty string, not {task_id!r}")
        if countdown is not None:
            if eta is not None:
                raise ValueError("give countdown or eta, not both")
            eta = _after("countdown", countdown, clock)
        elif eta is not None:
            if not isinstance(eta, datetime):
                raise TypeError(f"eta must be a datetime, not {eta!r}; for seconds from now use countdown")
            eta = _aware(eta, zone)
        if expires is not None:
            expires = _aware(expires, zone) if isinstance(expires, datetime) else _after("expires", expires, clock)
        return cls(task_id or str(uuid.uuid4()), queue, priority, eta, expires, ignore_result)


def make_outgoing(
    task: str, args: list[Any], kwargs: Mapping[str, Any], options: CallOptions, parent: Run | None
) -> Outgoing:
    """The message of one call; raises `EncodeError` naming the argument that cannot be written."""
    headers: dict[str, Any] = {
        "lang": "py",
        "task": task,
        "id": options.task_id,
        "root_id": (parent.context.root_id if parent else None) or options.task_id,
        "retries": 0,
        "origin": _origin(),
        "ignore_result": options.ignore_result,
    }
    if parent is not None:
        headers["parent_id"] = parent.context.id
    if options.eta is not None:
        headers["eta"] = options.eta.isoformat()
    if options.expires is not None:
        headers["expires"] = options.expires.isoformat()
    message = Message(
        id=options.task_id,
        task=task,
        body=encode_arguments(task, args, kwargs),
        headers=headers,
        priority=options.priority,
        eta=options.eta,
        expires=options.expires,
    )
    return Outgoing(message, options.queue, options.eta.timestamp() if options.eta else None)


def encode_arguments(
    task: str, args: list[Any], kwargs: Mapping[str, Any], embed: Mapping[str, Any] | None = None
) -> bytes:
    """The body of a message; raises `EncodeError` naming the argument that cannot be written."""
    try:
        return encode_body(Body(args, dict(kwargs), embed or {}))
    except EncodeError as error:
        named = [(f"argument {position}", value) for position, value in enumerate(args, 1)]
        named += [(f"argument {name!r}", value) for name, value in kwargs.items()]
        for name, value in named:
            reason = unencodable(value)
            if reason is not None:
                raise EncodeError(
                    f"{task}: {name} cannot be sent: {reason}. Pass plain data (text, numbers, lists, dictionaries, dates), "
                    "or an id by which the task finds the rest"
                ) from None
        raise EncodeError(f"{task}: the arguments cannot be sent: {error}") from None


class Publisher:
    """Sends messages for all threads and event loops of a process. Safe after fork: a child publishes under its own id."""

    def __init__(self, broker: Callable[[], Broker], timeout_s: Callable[[], float], policy: Callable[[], RetryPolicy]):
        self._broker = broker
        self._timeout_s = timeout_s
        self._policy = policy
        self._line = _Line()

    def publish(self, outgoing: list[Outgoing]) -> None:
        """Return when the messages are stored; raises `OperationalError` by the deadline, with nothing stored twice."""
        line = self._own_line()
        parcel = _Parcel(outgoing)
        line.waiting.append(parcel)
        with line.sending:
            if not parcel.sent:
                self._send(line)
        if parcel.error is not None:
            raise parcel.error

    async def publish_async(self, outgoing: list[Outgoing]) -> None:
        """As `publish`, without blocking the event loop; calls of one turn of the loop leave together."""
        import asyncio

        loop = asyncio.get_running_loop()
        line = self._own_line()
        batch = line.batches.get(loop)
        if batch is None:
            batch = line.batches[loop] = ([], loop.create_future())
            loop.call_soon(self._start_batch, loop)
        batch[0].extend(outgoing)
        await asyncio.shield(batch[1])

    def _start_batch(self, loop: AbstractEventLoop) -> None:
        outgoing, done = self._own_line().batches.pop(loop)
        work = loop.run_in_executor(None, self.publish, outgoing)

        def finished(result: Future[None]) -> None:
            error = result.exception()
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        work.add_done_callback(finished)

    def _send(self, line: _Line) -> None:
        parcels = [line.waiting.pop(0) for _ in range(len(line.waiting))]
        line.number += 1
        receipt = Receipt(line.producer, line.number)
        error: Exception | None = OperationalError("the thread that was sending was interrupted; it may have been sent")
        try:
            self._send_until_stored([item for parcel in parcels for item in parcel.outgoing], receipt)
            error = None
        except Exception as failure:
            error = failure
        finally:  # also for Ctrl-C: who waits must not take silence for success
            for parcel in parcels:
                parcel.error = error
                parcel.sent = True

    def _send_until_stored(self, outgoing: list[Outgoing], receipt: Receipt) -> None:
        deadline = time.monotonic() + self._timeout_s()
        attempt = 0
        while True:
            try:
                return self._broker().publish(outgoing, receipt)
            except OperationalError:
                attempt += 1
                delay_s = self._policy().delay_s(attempt)
                if delay_s is None or time.monotonic() + delay_s >= deadline:
                    raise
            time.sleep(delay_s)

    def _own_line(self) -> _Line:
        # After a fork the lock may be held by a thread that exists only in the parent, and the producer's numbers are
        # the parent's: the child starts a line of its own.
        if self._line.pid != os.getpid():
            self._line = _Line()
        return self._line


@dataclass(slots=True)
class _Parcel:
    """What one caller wants sent."""

    outgoing: list[Outgoing]
    sent: bool = False
    error: Exception | None = None


@dataclass(slots=True)
class _Line:
    """One process's queue to the broker."""

    pid: int = field(default_factory=os.getpid)
    producer: str = field(default_factory=lambda: uuid.uuid4().hex)
    number: int = 0
    sending: threading.Lock = field(default_factory=threading.Lock)
    waiting: list[_Parcel] = field(default_factory=list)
    batches: dict[AbstractEventLoop, tuple[list[Outgoing], Future[None]]] = field(default_factory=dict)


def _is_name(value: Any) -> bool:
    # A lone surrogate has no UTF-8: found only when it is sent, it would take down what is sent along with it.
    return isinstance(value, str) and value != "" and not _SURROGATE.search(value)


def _after(option: str, value: Any, clock: Clock) -> datetime:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{option} must be a number of seconds, not {value!r}")
    try:
        return utc(clock.time() + seconds)
    except (OverflowError, ValueError):
        raise ValueError(f"{option} must be a number of seconds that leads to a date, not {value!r}") from None


def _aware(moment: datetime, zone: tzinfo) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)


_origins: dict[int, str] = {}


def _origin() -> str:
    pid = os.getpid()
    if pid not in _origins:
        _origins.clear()
        _origins[pid] = f"gen{pid}@{socket.gethostname()}"
    return _origins[pid]
