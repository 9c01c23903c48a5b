"""How messages leave a process.

A process publishes through one `Publisher`. Callers that come at the same time share a transaction or round trip: whoever
gets to send takes along what the others have queued. Every publish carries a receipt, so a publish that is repeated after
a lost answer adds nothing.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from celeriac.crashpoints import reach
from celeriac.engines.base import Broker, Receipt
from celeriac.exceptions import OperationalError
from celeriac.messages import Outgoing
from celeriac.retries import RetryPolicy

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future

__all__ = ["Publisher"]


class Publisher:
    """Sends messages for all threads and event loops of a process. Safe after fork: a child publishes under its own id."""

    def __init__(self, broker: Callable[[], Broker], timeout_s: Callable[[], float], policy: Callable[[], RetryPolicy]):
        self._broker = broker
        self._timeout_s = timeout_s
        self._policy = policy
        self._line = _Line()

    def publish(self, outgoing: list[Outgoing], policy: RetryPolicy | None = None) -> None:
        """Return when the messages are stored; raises `OperationalError` by the deadline, with nothing stored twice.

        With a retry policy of its own a call goes by itself.
        """
        line = self._own_line()
        parcel = _Parcel(outgoing)
        if policy is None:
            line.waiting.append(parcel)
        with line.sending:
            if policy is not None:
                self._send(line, [parcel], lambda: policy)
            elif not parcel.sent:
                self._send(line, [line.waiting.pop(0) for _ in range(len(line.waiting))], self._policy)
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

    def _send(self, line: _Line, parcels: list[_Parcel], policy: Callable[[], RetryPolicy]) -> None:
        line.number += 1
        receipt = Receipt(line.producer, line.number)
        error: Exception | None = OperationalError("the thread that was sending was interrupted; it may have been sent")
        try:
            self._send_until_stored([item for parcel in parcels for item in parcel.outgoing], receipt, policy)
            error = None
        except Exception as failure:
            error = failure
        finally:  # also for Ctrl-C: who waits must not take silence for success
            for parcel in parcels:
                parcel.error = error
                parcel.sent = True

    def _send_until_stored(self, outgoing: list[Outgoing], receipt: Receipt, policy: Callable[[], RetryPolicy]) -> None:
        deadline = time.monotonic() + self._timeout_s()
        attempt = 0
        while True:
            began = time.monotonic()
            try:
                reach("publishing")
                self._broker().publish(outgoing, receipt)
                reach("published")
                return
            except OperationalError:
                attempt += 1
                delay_s = policy().delay_s(attempt)
                failed = time.monotonic()
                # The next try may take as long as this one did, and must be over by the deadline.
                if delay_s is None or failed + delay_s + (failed - began) >= deadline:
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
