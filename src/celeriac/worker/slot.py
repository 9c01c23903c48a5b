"""Where tasks run: one slot, in the thread that calls it."""

from __future__ import annotations

from celeriac.app import Celery
from celeriac.execution.calls import DirectCaller
from celeriac.execution.executor import Executor
from celeriac.worker.board import Board
from celeriac.worker.courier import Courier

__all__ = ["run_slot"]


def run_slot(app: Celery, hostname: str, courier: Courier, board: Board | None = None, slot: int = 0) -> None:
    """Run what the courier brings until it brings no more."""
    executor, caller = Executor(app, hostname, courier), DirectCaller()
    try:
        while (lease := courier.next()) is not None:
            if board is not None:
                board.begin(slot, lease.token)
            commit = executor.execute(lease, caller)
            if board is not None:
                board.end(slot)
            courier.settle(commit)
    finally:
        caller.close()
