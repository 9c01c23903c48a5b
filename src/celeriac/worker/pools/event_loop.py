"""The asyncio pool: one event loop in the main thread of one child process, where every slot is a coroutine.

Coroutine functions run on the loop. Other functions run in threads, so that they do not hold up the loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from celeriac.engines.base import Lease
from celeriac.exceptions import LeaseLost, SoftTimeLimitExceeded, TimeLimitExceeded
from celeriac.execution.calls import Call
from celeriac.worker.callers import SlotCaller
from celeriac.worker.limits.coroutines import Interruptible
from celeriac.worker.limits.limiter import Limit
from celeriac.worker.logs import SLOT_THREAD
from celeriac.worker.pools.workplace import Workplace
from celeriac.worker.processes import end_broken_process

__all__ = ["EventLoop"]

logger = logging.getLogger("celeriac.worker")

_MOST_THREADS = 64
#: A coroutine that is cancelled for good has this long to end; then its process is killed.
_LAST_S = 1.0


class EventLoop:
    """Runs tasks as coroutines, so many at a time. `wake` is what the courier calls when it has brought something."""

    def __init__(self, slots: int) -> None:
        self._free = list(range(slots))
        self._slots = slots
        self._runs: set[asyncio.Task[None]] = set()
        self._woken = False
        self._ended = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def wake(self) -> None:
        """Fetch, soon. From any thread."""
        loop = self._loop
        if loop is not None:
            try:
                loop.call_soon_threadsafe(self._fetch_soon)
            except RuntimeError:
                pass  # the loop is closed: everything has ended

    def run(self, place: Workplace) -> None:
        """Run tasks until the courier brings no more."""
        self._place = place
        #: What every run's context is a copy of: what a task sets in its own, the next one does not see.
        self._context = contextvars.copy_context()
        threads = ThreadPoolExecutor(min(self._slots, _MOST_THREADS), thread_name_prefix=SLOT_THREAD)
        self._caller = _LoopCaller(place, threads)
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            self._done = self._loop.create_future()
            self._loop.call_soon(self._fetch_soon)
            while not self._done.done():
                try:
                    self._loop.run_until_complete(self._done)
                except (SystemExit, KeyboardInterrupt) as error:
                    # Out of a coroutine that a task had left on the loop; those of the tasks themselves end with them.
                    logger.error("A coroutine left behind by a task raised %r; the event loop goes on", error)
            threads.shutdown()

    def _fetch_soon(self) -> None:
        """Once in each turn of the loop, for all slots that have become free in it."""
        if not self._woken:
            self._woken = True
            assert self._loop is not None
            self._loop.call_soon(self._fetch)

    def _fetch(self) -> None:
        self._woken = False
        assert self._loop is not None
        leases = self._place.courier.take(len(self._free))
        for lease in leases or ():
            run = self._loop.create_task(self._run(lease, self._free.pop()), context=self._context.copy())
            self._runs.add(run)  # the loop itself holds tasks only weakly
            run.add_done_callback(self._runs.discard)
        self._ended = leases is None
        if self._ended and len(self._free) == self._slots and not self._done.done():
            self._done.set_result(None)

    def interrupt(self) -> None:
        """Cancel the coroutine functions that run now: their leases are lost. From any thread."""
        loop = self._loop
        if loop is not None:
            try:
                loop.call_soon_threadsafe(self._caller.lose_leases)
            except RuntimeError:
                pass  # the loop is closed

    async def _run(self, lease: Lease, slot: int) -> None:
        place = self._place
        try:
            if place.begin(slot, lease):
                self._caller.slots[lease.token] = slot
                place.ended(slot, await place.executor.execute_async(lease, self._caller))
        except Exception:
            end_broken_process("A slot")
        finally:
            self._caller.slots.pop(lease.token, None)
            self._free.append(slot)
            self._fetch_soon()


class _Ending:
    """Ends one coroutine's run by a cancellation; whatever that makes of it, the run then raises the error asked for."""

    def __init__(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any] | None) -> None:
        self._loop = loop
        self._task = task
        self._error: BaseException | None = None
        self._over = False

    def ask(self, error: BaseException) -> None:
        """From any thread."""
        try:
            self._loop.call_soon_threadsafe(self.strike, error)
        except RuntimeError:
            pass  # the loop is closed: everything has ended

    def strike(self, error: BaseException) -> None:
        """In the loop's thread, where the run stands at an await of its function, or is over."""
        if not self._over and self._error is None and self._task is not None:
            self._error = error
            self._task.cancel()

    def end(self) -> None:
        """The function has ended. Raises if it was struck."""
        self._over = True
        if self._error is not None:
            assert self._task is not None
            self._task.uncancel()
            raise self._error from None


class _LoopCaller:
    """An `AsyncCaller` for all coroutines of the pool."""

    def __init__(self, place: Workplace, threads: ThreadPoolExecutor) -> None:
        self._place = place
        self._threads = threads
        self._callers = threading.local()
        #: The slot of each lease that is being run.
        self.slots: dict[int, int] = {}
        #: How the coroutine functions that are being called can be ended, by the tokens of their leases.
        self._endings: dict[int, _Ending] = {}

    def lose_leases(self) -> None:
        """End the coroutine functions that are being called: others have their leases."""
        for ending in self._endings.values():
            ending.strike(LeaseLost())

    async def call(self, call: Call) -> Any:
        """As `AsyncCaller.call`."""
        if not call.is_async:
            return await self._in_thread(call)
        coroutine = call.function(*call.args, **call.kwargs)
        ending = self._endings[call.token] = _Ending(asyncio.get_running_loop(), asyncio.current_task())
        if self._place.terminations is not None:
            self._place.terminations.begin(call.token, ending.ask)
        try:
            value = await self._timed(call, coroutine)
        except BaseException:
            ending.end()
            raise
        finally:
            del self._endings[call.token]
            if self._place.terminations is not None:
                self._place.terminations.end(call.token)
        ending.end()
        return value

    async def _timed(self, call: Call, function: Coroutine[Any, Any, Any]) -> Any:
        if call.soft_s is None and call.hard_s is None:
            return await function
        coroutine = Interruptible(function)
        loop, now, slot, hard = asyncio.get_running_loop(), time.monotonic(), self.slots[call.token], self._place.hard
        timers = []
        if call.soft_s is not None:
            soft = Limit(now + call.soft_s, SoftTimeLimitExceeded())
            timers.append(loop.call_later(call.soft_s, coroutine.interrupt, soft))
        if call.hard_s is not None:
            final = Limit(now + call.hard_s, TimeLimitExceeded(call.hard_s), final=True)
            timers.append(loop.call_later(call.hard_s, coroutine.interrupt, final))
            if hard is not None:
                hard.begin(slot, call.hard_s, _LAST_S)
        try:
            return await coroutine
        finally:
            for timer in timers:
                timer.cancel()
            if call.hard_s is not None and hard is not None:
                hard.end(slot)

    async def _in_thread(self, call: Call) -> Any:
        slot = self.slots[call.token]
        self._place.board.defer(slot, call.token)  # it waits for a thread: nothing of it has begun
        run = contextvars.copy_context().run
        loop = asyncio.get_running_loop()
        value, error = await loop.run_in_executor(self._threads, run, self._call_in_thread, call, slot)
        if error is not None:
            raise error
        return value

    def _call_in_thread(self, call: Call, slot: int) -> tuple[Any, BaseException | None]:
        """What it returned or raised: some exceptions (StopIteration, CancelledError) no future can hand over."""
        self._place.board.begin(slot, call.token)
        caller: SlotCaller | None = getattr(self._callers, "caller", None)
        if caller is None:
            place = self._place
            caller = self._callers.caller = SlotCaller(place.limiter, place.hard, terminations=place.terminations)
        try:
            return caller.call_in(call, slot), None
        except BaseException as error:
            return None, error
