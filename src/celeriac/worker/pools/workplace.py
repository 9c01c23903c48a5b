"""What the slots of one process share."""

from __future__ import annotations

import contextvars
import logging
import os
from dataclasses import dataclass, field
from typing import NoReturn

from celeriac.engines.base import Commit, Lease
from celeriac.execution.executor import Executor
from celeriac.worker.board import Board
from celeriac.worker.callers import SlotCaller
from celeriac.worker.courier import Courier
from celeriac.worker.limits.hard import HardLimits
from celeriac.worker.limits.limiter import Limiter
from celeriac.worker.memory import MemoryLimit

__all__ = ["Workplace", "end_broken_process", "run_slot"]

logger = logging.getLogger("celeriac.worker")


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where runs come from, where they show, and where their outcomes go. `hard` is for processes that can be killed."""

    executor: Executor
    courier: Courier
    board: Board
    hard: HardLimits | None = None
    memory: MemoryLimit | None = None
    limiter: Limiter = field(default_factory=Limiter)

    def ended(self, slot: int, commit: Commit) -> None:
        """The slot's run is over."""
        self.board.end(slot)
        self.courier.settle(commit)
        if self.memory is not None:
            self.memory.look()


def run_slot(place: Workplace, slot: int = 0) -> None:
    """Run, in the thread that calls this, what the courier brings until it brings no more."""
    caller = SlotCaller(place.limiter, place.hard, slot)
    try:
        while (lease := place.courier.next()) is not None:
            place.board.begin(slot, lease.token)
            place.ended(slot, _run(place.executor, lease, caller))
    finally:
        caller.close()


def end_broken_process() -> NoReturn:
    """For an exception outside of any task's run: the slot would be gone and its lease held for ever.

    The supervisor settles the leases of a dead process and starts another.
    """
    logger.critical("A slot of this worker process broke; the process ends and is replaced", exc_info=True)
    logging.shutdown()
    os._exit(1)


def _run(executor: Executor, lease: Lease, caller: SlotCaller) -> Commit:
    """In a context of its own: what a task sets there, the next one does not see."""
    return contextvars.copy_context().run(executor.execute, lease, caller)
