"""How the functions of tasks are called for one slot: in its thread, with its event loop, within their time limits."""

from __future__ import annotations

import logging
import time
from typing import Any

from celeriac.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded
from celeriac.execution.calls import Call, DirectCaller
from celeriac.worker.limits.guards import Guard, guard_of_this_thread
from celeriac.worker.limits.hard import HardLimits
from celeriac.worker.limits.limiter import Limit, Limiter

__all__ = ["SlotCaller"]

logger = logging.getLogger("celeriac.worker")


class SlotCaller(DirectCaller):
    """A `Caller` for one thread. Without `hard`, where nobody could kill this process, a hard limit raises as well."""

    def __init__(self, limiter: Limiter, hard: HardLimits | None, slot: int = 0) -> None:
        super().__init__()
        self._limiter = limiter
        self._hard = hard
        self._slot = slot
        self._guard: Guard | None = None
        self._warned = False

    def call(self, call: Call) -> Any:
        """As `Caller.call`."""
        return self.call_in(call, self._slot)

    def call_in(self, call: Call, slot: int) -> Any:
        """As `call`, for a thread that serves one slot after another."""
        if call.hard_s is None:
            return super().call(call) if call.soft_s is None else self._call_limited(call)
        if self._hard is None:
            self._warn()
            return self._call_limited(call)
        self._hard.begin(slot, call.hard_s)
        try:
            return super().call(call) if call.soft_s is None else self._call_limited(call)
        finally:
            self._hard.end(slot)

    def _call_limited(self, call: Call) -> Any:
        if self._guard is None:
            self._guard = guard_of_this_thread(self._limiter)
        if call.is_async:
            return self._guard.run_async(call, self._limits(call), self.runner())
        return self._guard.run(call, self._limits(call))

    def _limits(self, call: Call) -> tuple[Limit, ...]:
        now = time.monotonic()
        limits = []
        if call.soft_s is not None:
            limits.append(Limit(now + call.soft_s, SoftTimeLimitExceeded()))
        if call.hard_s is not None and self._hard is None:
            limits.append(Limit(now + call.hard_s, TimeLimitExceeded(call.hard_s), final=True))
        return tuple(limits)

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "A task came with a hard time limit. The solo pool raises it in the task, which reaches Python code only; "
                "another pool (-P prefork) ends the task whatever it does"
            )
