"""Where a courier shows that it has its turns, so that others see when it has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from celeriac.worker.board import Board

__all__ = ["BoardPulse", "Pulse"]


class Pulse(Protocol):
    """What a courier beats."""

    def beat(self) -> None:
        """It has a turn now, and something waits in it unstarted, or soon may."""

    def rest(self) -> None:
        """Nothing waits."""


class BoardPulse:
    """Shows on the board that the courier has its turns, and has the supervisor look while that says something."""

    def __init__(self, board: Board, ask: Callable[[], None]) -> None:
        self._board = board
        self._ask = ask

    def beat(self) -> None:
        self._board.beat()
        if not self._board.minded:
            self._ask()

    def rest(self) -> None:
        self._board.rest()
