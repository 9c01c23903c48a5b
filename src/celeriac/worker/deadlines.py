"""The supervisor's eye on hard time limits: which child is to be killed because a run of it will not end."""

from __future__ import annotations

import time
from collections.abc import Callable

from celeriac.worker.board import Board, Deadline

__all__ = ["Watch"]

#: Between two looks at a board. A limit that is set meanwhile is found with the next look.
_LOOK_S = 0.2
#: After so many looks that found nothing a board is not looked at any more, until its child asks again. From the last but
#: one the child knows; the last is for the run that began in the same moment.
_LOOKS = 2
#: How long a child needs at most to see that it was condemned.
_HESITATION_S = 0.001


class Watch:
    """Looks at one child's board while there are deadlines on it. Costs nothing while no task has a hard limit."""

    def __init__(self, board: Board, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._board = board
        self._monotonic = monotonic
        self._looks_left = 0
        self._next = 0.0

    def asked(self) -> None:
        """The child has a deadline."""
        self._looks_left = _LOOKS
        self._board.watch(True)
        self._next = 0.0

    @property
    def next_look(self) -> float | None:
        """When (monotonic) to look again; None: not at all."""
        return self._next if self._looks_left else None

    def look(self) -> dict[int, float]:
        """The limits, by token, of the runs that must be killed now: they have ended neither in time nor since."""
        now = self._monotonic()
        deadlines = self._board.deadlines()
        if deadlines:
            self._looks_left = _LOOKS
            self._board.watch(True)
        else:
            self._looks_left -= 1
            if self._looks_left == 1:
                self._board.watch(False)
        self._next = min([now + _LOOK_S, *(deadline.at for deadline in deadlines if deadline.at > now)])
        return self._condemn([deadline for deadline in deadlines if deadline.at <= now])

    def _condemn(self, overdue: list[Deadline]) -> dict[int, float]:
        if not overdue:
            return {}
        for deadline in overdue:
            self._board.condemn(deadline)
        time.sleep(_HESITATION_S)
        guilty = {deadline.token: deadline.limit_s for deadline in overdue if self._board.overruns(deadline)}
        if not guilty:
            for deadline in overdue:
                self._board.spare(deadline)
        return guilty
