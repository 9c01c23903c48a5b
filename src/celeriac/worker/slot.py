"""Where tasks run: one slot, in the thread that calls it."""

from __future__ import annotations

from celeriac.app import Celery
from celeriac.worker.board import Board
from celeriac.worker.courier import Courier
from celeriac.worker.executor import Executor

__all__ = ["run_slot"]


def run_slot(app: Celery, hostname: str, courier: Courier, board: Board | None = None, slot: int = 0) -> None:
    """Run what the courier brings until it brings no more."""
    executor = Executor(app, hostname, courier)
    try:
        while (lease := courier.next()) is not None:
            if board is not None:
                board.begin(slot, lease.token)
            commit = executor.execute(lease)
            if board is not None:
                board.end(slot)
            courier.settle(commit)
    finally:
        executor.close()
