"""How the functions of tasks are called for one slot: in its thread, with its event loop, within their time limits."""

from __future__ import annotations

import logging
import math
import sys
import time
from types import FrameType
from typing import TYPE_CHECKING, Any

from celeriac.exceptions import SoftTimeLimitExceeded, Terminated, TimeLimitExceeded
from celeriac.execution.calls import Call, DirectCaller
from celeriac.worker.limits.guards import Guard, guard_of_this_thread
from celeriac.worker.limits.hard import HardLimits
from celeriac.worker.limits.limiter import Limit, Limiter
from celeriac.worker.limits.shield import shields
from celeriac.worker.revocations import Terminations

if TYPE_CHECKING:
    import asyncio

__all__ = ["SlotCaller", "end_call"]

logger = logging.getLogger("celeriac.worker")


class SlotCaller(DirectCaller):
    """A `Caller` for one thread. Without `hard`, where nobody could kill this process, a hard limit raises as well.

    With `terminations`, a call can be ended by itself: by `Terminated`, which is raised inside of it.
    """

    def __init__(
        self,
        limiter: Limiter,
        hard: HardLimits | None,
        slot: int = 0,
        terminations: Terminations | None = None,
    ) -> None:
        super().__init__()
        self._hard = hard
        self._slot = slot
        self._limiter = limiter
        self._guard: Guard = guard_of_this_thread(limiter)
        self._terminations = terminations
        self._doomed: Terminated | None = None
        self._warned = False

    def call(self, call: Call) -> Any:
        """As `Caller.call`."""
        return self.call_in(call, self._slot)

    def call_in(self, call: Call, slot: int) -> Any:
        """As `call`, for a thread that serves one slot after another."""
        if self._terminations is not None:
            return self._call_terminable(self._terminations, call, slot)
        try:
            value = self._call_timed(call, slot, [])
        except BaseException:
            if self._doomed is not None:
                raise self._doomed from None  # whatever the task has made of it
            raise
        if self._doomed is not None:
            raise self._doomed
        return value

    def doom(self, error: Terminated) -> None:
        """For a signal's handler in the thread of the call: it ends now, and this process with it."""
        self._doomed = error
        loop = self._running_loop()
        if loop is None:
            raise error
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in sys.modules["asyncio"].all_tasks(loop)])

    def _running_loop(self) -> asyncio.AbstractEventLoop | None:
        return None if self._runner is None else sys.modules["asyncio"]._get_running_loop()

    def _call_terminable(self, terminations: Terminations, call: Call, slot: int) -> Any:
        """The moment of this limit is when it is told so."""
        limit = Limit(math.inf, Terminated(), final=True)

        def end(error: Terminated) -> None:
            limit.error = error
            self._limiter.strike_now(limit)

        terminations.begin(call.token, end)
        try:
            value = self._call_timed(call, slot, [limit])
        except BaseException:
            if limit.struck:
                raise limit.error from None  # whatever the task has made of it
            raise
        finally:
            terminations.end(call.token)
        if limit.struck:
            raise limit.error
        return value

    def _call_timed(self, call: Call, slot: int, limits: list[Limit]) -> Any:
        if call.hard_s is None:
            return self._guarded(call, limits)
        if self._hard is None:
            self._warn()
            return self._guarded(call, limits)
        self._hard.begin(slot, call.hard_s)
        try:
            return self._guarded(call, limits)
        finally:
            self._hard.end(slot)

    def _guarded(self, call: Call, limits: list[Limit]) -> Any:
        """Also without limits: a run whose lease is lost is interrupted."""
        limits += self._limits(call)
        if call.is_async:
            return self._guard.run_async(call, limits, self.runner())
        return self._guard.run(call, limits)

    def _limits(self, call: Call) -> list[Limit]:
        if call.soft_s is None and call.hard_s is None:
            return []
        now = time.monotonic()
        limits = []
        if call.soft_s is not None:
            limits.append(Limit(now + call.soft_s, SoftTimeLimitExceeded()))
        if call.hard_s is not None and self._hard is None:
            limits.append(Limit(now + call.hard_s, TimeLimitExceeded(call.hard_s), final=True))
        return limits

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "A task came with a hard time limit. The solo pool raises it in the task, which reaches Python code only; "
                "another pool (-P prefork) ends the task whatever it does"
            )


def end_call(error: Terminated, frame: FrameType | None) -> None:
    """For a signal's handler: if `frame`, which was interrupted, belongs to a task's call, end that."""
    while frame is not None:
        if frame.f_code is _CALL_IN:
            caller: SlotCaller = frame.f_locals["self"]
            return caller.doom(error)
        if shields(frame):
            return None
        frame = frame.f_back
    return None


_CALL_IN = SlotCaller.call_in.__code__
