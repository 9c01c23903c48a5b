"""How messages leave a process.

A process publishes through one `Publisher`. Callers that come at the same time share a transaction or round trip: the
one whose turn it is takes along what the others have queued, and each learns what became of its own. Every publish carries a
receipt, so a publish that is repeated after a lost answer adds nothing.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from celeriac.crashpoints import reach
from celeriac.engines.base import Broker, Receipt
from celeriac.exceptions import BrokerError, EncodeError, OperationalError, PartlyPublished
from celeriac.messages import Outgoing
from celeriac.retries import RetryPolicy

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future

__all__ = ["Publisher"]

#: Bounds of what goes in one round trip, so that the store is held up for milliseconds only.
_MOST_TOGETHER = 1000
_MOST_BYTES_TOGETHER = 1_000_000


class Publisher:
    """Sends messages for all threads and event loops of a process. Safe after fork: a child publishes under its own id."""

    def __init__(self, broker: Callable[[], Broker], timeout_s: Callable[[], float], policy: Callable[[], RetryPolicy]):
        self._broker = broker
        self._timeout_s = timeout_s
        self._policy = policy
        self._line = _Line()
        #: For those who send by themselves: as many as have ever done so at the same time.
        self._idle: list[_Line] = []

    def publish(self, outgoing: Outgoing, policy: RetryPolicy | None = None) -> None:
        """Return when the message is stored; raises `OperationalError` by the deadline, with nothing stored twice.

        With a retry policy of its own a call goes by itself.
        """
        if policy is not None:
            return self.publish_many([outgoing], policy)
        parcel = _Parcel(outgoing)
        self._join([parcel])
        if parcel.error is not None:
            raise parcel.error

    async def publish_async(self, outgoing: Outgoing) -> None:
        """As `publish`, without blocking the event loop; calls of one turn of the loop leave together."""
        import asyncio

        loop = asyncio.get_running_loop()
        batches = self._shared_line().batches
        batch = batches.get(loop)
        if batch is None:
            batch = batches[loop] = []
            loop.call_soon(self._start_batch, loop)
        done = loop.create_future()
        batch.append((_Parcel(outgoing), done))
        await done

    def _start_batch(self, loop: AbstractEventLoop) -> None:
        batch = self._shared_line().batches.pop(loop)
        work = loop.run_in_executor(None, self._join, [parcel for parcel, _ in batch])

        def finished(joined: Future[None]) -> None:
            trouble = joined.exception()
            for parcel, done in batch:
                if done.done():
                    continue  # cancelled
                error = parcel.error or trouble
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)

        work.add_done_callback(finished)

    def publish_many(self, outgoing: Sequence[Outgoing], policy: RetryPolicy | None = None) -> None:
        """As `publish`, batch after batch; when one cannot be stored, those before it are."""
        with self._line_alone() as line:
            batches = [(batch, line.receipt()) for batch in _batches(outgoing)]
            stored = 0
            while stored < len(batches):
                began = time.monotonic()
                reach("publishing")
                try:
                    for _ in self._broker().publish_each(batches[stored:]):
                        stored += 1
                        began = time.monotonic()
                except OperationalError as trouble:
                    self._repeat(*batches[stored], policy, trouble, began)
                    stored += 1
            reach("published")

    # ── sharing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _join(self, parcels: list[_Parcel]) -> None:
        """Return when these have been sent, by this thread or by the one whose turn it is."""
        line = self._shared_line()
        try:
            turn = line.enter(parcels)
            if turn is not None:
                turn.acquire()
            while not parcels[-1].sent:
                self._send(line, line.take())
                line.tell()
        finally:
            line.leave(parcels)

    def _send(self, line: _Line, parcels: list[_Parcel]) -> None:
        error: Exception | None = OperationalError("the thread that was sending was interrupted; it may have been sent")
        try:
            refused = self._trouble(line, parcels)
            if refused is not None and len(parcels) > 1 and _nothing_was_stored(refused):
                # Perhaps for what one of them holds, which is no matter of the others.
                middle = len(parcels) // 2
                self._send(line, parcels[:middle])
                self._send(line, parcels[middle:])
            error = refused
        finally:  # also for Ctrl-C: who waits must not take silence for success
            for parcel in parcels:
                if not parcel.sent:
                    parcel.error = error
                    parcel.sent = True

    def _trouble(self, line: _Line, parcels: list[_Parcel]) -> Exception | None:
        try:
            self._store([parcel.outgoing for parcel in parcels], line.receipt())
        except Exception as error:
            return error
        return None

    # ── sending ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _store(self, outgoing: Sequence[Outgoing], receipt: Receipt) -> None:
        began = time.monotonic()
        try:
            reach("publishing")
            self._broker().publish(outgoing, receipt)
            reach("published")
        except OperationalError as trouble:
            self._repeat(outgoing, receipt, None, trouble, began)

    def _repeat(
        self,
        outgoing: Sequence[Outgoing],
        receipt: Receipt,
        policy: RetryPolicy | None,
        trouble: OperationalError,
        began: float,
    ) -> None:
        """Try again what was begun then and failed; raises `OperationalError` when it is given up."""
        policy, deadline, attempt = policy or self._policy(), began + self._timeout_s(), 1
        while True:
            delay_s = policy.delay_s(attempt)
            failed = time.monotonic()
            # The next try may take as long as this one did, and must be over by the deadline.
            if delay_s is None or failed + delay_s + (failed - began) >= deadline:
                raise trouble
            time.sleep(delay_s)
            began = time.monotonic()
            try:
                reach("publishing")
                self._broker().publish(outgoing, receipt)
                reach("published")
                return
            except OperationalError as error:
                trouble, attempt = error, attempt + 1

    # ── lines ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _shared_line(self) -> _Line:
        # After a fork the lock may be held by a thread that exists only in the parent, and the producer's numbers are
        # the parent's: the child starts a line of its own.
        if self._line.pid != os.getpid():
            self._line = _Line()
        return self._line

    @contextmanager
    def _line_alone(self) -> Iterator[_Line]:
        """A line that nobody else sends on meanwhile."""
        try:
            line = self._idle.pop()
        except IndexError:
            line = _Line()
        if line.pid != os.getpid():
            line = _Line()
        try:
            yield line
        finally:
            self._idle.append(line)


def _nothing_was_stored(error: Exception) -> bool:
    return isinstance(error, (BrokerError, EncodeError)) and not isinstance(error, (OperationalError, PartlyPublished))


def _batches(outgoing: Sequence[Outgoing]) -> Iterator[Sequence[Outgoing]]:
    start = size = 0
    for end, one in enumerate(outgoing):
        if end - start >= _MOST_TOGETHER or size >= _MOST_BYTES_TOGETHER:
            yield outgoing[start:end]
            start, size = end, 0
        size += len(one.message.body)
    if start < len(outgoing):
        yield outgoing[start:]


class _Parcel(msgspec.Struct):
    """What one caller wants sent."""

    outgoing: Outgoing
    sent: bool = False
    error: Exception | None = None


class _Turn(NamedTuple):
    """A thread that waits: `lock` opens when its parcels are sent, or when it is to send."""

    parcels: list[_Parcel]
    lock: threading.Lock


class _Line(msgspec.Struct):
    """One producer's way to the broker: its publishes are numbered, and go one after the other.

    Of the threads in it one sends, for all whose parcels wait; then those whose are sent go, and the first of the others
    sends. What a thread is here stands in the line alone, so that one which is interrupted anywhere leaves it in order.
    """

    pid: int = msgspec.field(default_factory=os.getpid)
    producer: str = msgspec.field(default_factory=lambda: uuid.uuid4().hex)
    number: int = 0
    waiting: list[_Parcel] = msgspec.field(default_factory=list)
    batches: dict[AbstractEventLoop, list[tuple[_Parcel, Future[None]]]] = msgspec.field(default_factory=dict)
    _guard: threading.Lock = msgspec.field(default_factory=threading.Lock)
    #: The parcels of the thread that sends.
    _sender: list[_Parcel] | None = None
    #: The others, in the order of `waiting`.
    _turns: deque[_Turn] = msgspec.field(default_factory=deque)

    def receipt(self) -> Receipt:
        self.number += 1
        return Receipt(self.producer, self.number)

    def enter(self, parcels: list[_Parcel]) -> threading.Lock | None:
        """Queue parcels. None when this thread is to send, else what it waits at."""
        with self._guard:
            self.waiting += parcels
            if self._sender is None:
                self._sender = parcels
                return None
            lock = threading.Lock()
            lock.acquire()
            self._turns.append(_Turn(parcels, lock))
            return lock

    def take(self) -> list[_Parcel]:
        """The next that go together, off the queue."""
        with self._guard:
            size = count = 0
            for parcel in self.waiting[:_MOST_TOGETHER]:
                count += 1
                size += len(parcel.outgoing.message.body)
                if size >= _MOST_BYTES_TOGETHER:
                    break
            taken = self.waiting[:count]
            del self.waiting[:count]
            return taken

    def tell(self) -> None:
        """Let those go whose parcels are sent."""
        with self._guard:
            while self._turns and self._turns[0].parcels[-1].sent:
                self._turns.popleft().lock.release()

    def leave(self, parcels: list[_Parcel]) -> None:
        """Go, sent or interrupted; whoever was to send has the next one do it."""
        with self._guard:
            if not parcels[-1].sent:
                self.waiting = [one for one in self.waiting if all(one is not own for own in parcels)]
                self._turns = deque(turn for turn in self._turns if turn.parcels is not parcels)
            if self._sender is parcels:
                turn = self._turns.popleft() if self._turns else None
                self._sender = None if turn is None else turn.parcels
                if turn is not None:
                    turn.lock.release()
