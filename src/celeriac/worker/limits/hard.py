"""Hard time limits of a process that others watch: the deadline is shown on the board, and the supervisor kills."""

from __future__ import annotations

import time
from collections.abc import Callable

from celeriac.worker.board import Board

__all__ = ["HardLimits"]


class HardLimits:
    """The child's side. `ask` has the supervisor look at the board, which it does only while there is a reason to."""

    def __init__(self, board: Board, ask: Callable[[], None]) -> None:
        self._board = board
        self._ask = ask

    def begin(self, slot: int, limit_s: float, grace_s: float = 0.0) -> None:
        """The slot's run is to be killed `grace_s` after its limit."""
        self._board.limit(slot, time.monotonic() + limit_s + grace_s, limit_s)
        if not self._board.watched:
            self._ask()

    def end(self, slot: int) -> None:
        """The run has ended; returns when it cannot be killed any more."""
        self._board.lift(slot)
