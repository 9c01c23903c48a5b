"""What the slots of one process share."""

from __future__ import annotations

import contextvars

import msgspec

from celeriac.crashpoints import reach
from celeriac.engines.base import Commit, Lease
from celeriac.execution.executor import Executor
from celeriac.worker.board import Board
from celeriac.worker.callers import SlotCaller
from celeriac.worker.courier import Courier
from celeriac.worker.limits.hard import HardLimits
from celeriac.worker.limits.limiter import Limiter
from celeriac.worker.memory import MemoryLimit
from celeriac.worker.revocations import Revoke, Terminations

__all__ = ["Workplace", "run_slot"]


class Workplace(msgspec.Struct, frozen=True):
    """Where runs come from, where they show, and where their outcomes go. `hard` is for processes that can be killed."""

    executor: Executor
    courier: Courier
    board: Board
    hard: HardLimits | None = None
    memory: MemoryLimit | None = None
    limiter: Limiter = msgspec.field(default_factory=Limiter)
    #: How single runs are ended where several share the process, or nobody could kill it.
    terminations: Terminations | None = None

    def revoke(self, order: Revoke) -> None:
        """The lease was revoked after its claim. From any thread."""
        self.executor.refuse(order.token)
        if order.signum is not None and self.terminations is not None:
            self.terminations.terminate(order.token, order.signum)

    def begin(self, slot: int, lease: Lease) -> bool:
        """Show that the slot runs this lease; False if it has been taken away meanwhile, and is not to be run."""
        reach("taken")
        self.board.begin(slot, lease.token)
        reach("shown")
        if not self.board.withdrawn(lease.token):
            self.board.confirm(slot, lease.token)
            return True
        self.board.end(slot)
        self.courier.decline(lease)
        return False

    def ended(self, slot: int, commit: Commit) -> None:
        """The slot's run is over."""
        reach("ran")
        self.board.end(slot)
        reach("unshown")
        self.courier.settle(commit)
        if self.memory is not None:
            self.memory.look()


def run_slot(place: Workplace, slot: int = 0) -> None:
    """Run, in the thread that calls this, what the courier brings until it brings no more."""
    caller = SlotCaller(place.limiter, place.hard, slot, place.terminations)
    try:
        while (lease := place.courier.next()) is not None:
            if place.begin(slot, lease):
                place.ended(slot, _run(place.executor, lease, caller))
    finally:
        caller.close()


def _run(executor: Executor, lease: Lease, caller: SlotCaller) -> Commit:
    """In a context of its own: what a task sets there, the next one does not see."""
    return contextvars.copy_context().run(executor.execute, lease, caller)
