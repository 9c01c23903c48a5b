"""The supervisor's eye on a child: which of its runs will not end, and whether it does not get to what it holds."""

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
#: A courier that has had no turn for so long hangs: code that keeps the interpreter to itself is running, or it was stopped.
_HANGS_AFTER_S = 1.0


class Watch:
    """Looks at one child's board while there are deadlines on it or work that waits, and costs nothing else."""

    def __init__(self, board: Board, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._board = board
        self._monotonic = monotonic
        self._looks_left = 0
        self._beats_left = 0
        self._next = 0.0
        self._may_hang_at = 0.0

    def asked(self) -> None:
        """There is something on the board."""
        self._board.hear()
        self._looks_left = self._beats_left = _LOOKS
        self._board.watch(True)
        self._board.mind(True)
        self._next = 0.0

    @property
    def next_look(self) -> float | None:
        """When (monotonic) to look again; None: not at all."""
        return self._next if self._looks_left or self._beats_left else None

    def look(self) -> dict[int, float]:
        """The limits, by token, of the runs that must be killed now: they have ended neither in time nor since."""
        now = self._monotonic()
        deadlines = self._board.deadlines()
        if deadlines:
            self._looks_left = _LOOKS
            self._board.watch(True)
        elif self._looks_left:
            self._looks_left -= 1
            if self._looks_left == 1:
                self._board.watch(False)
        self._look_at_beat()
        self._next = min([now + _LOOK_S, *(deadline.at for deadline in deadlines if deadline.at > now)])
        return self._condemn([deadline for deadline in deadlines if deadline.at <= now])

    def _look_at_beat(self) -> None:
        """Apart from the deadlines: a short one, set while work waits, must be told of and not found with the next look."""
        if self._board.beat_at is not None:
            self._beats_left = _LOOKS
            self._board.mind(True)
        elif self._beats_left:
            self._beats_left -= 1
            if self._beats_left == 1:
                self._board.mind(False)

    def hangs_since(self) -> float | None:
        """The courier's last turn (monotonic), if it is too long ago. Asked again, it says so once in a while."""
        now, beat_at = self._monotonic(), self._board.beat_at
        if beat_at is None or now - beat_at < _HANGS_AFTER_S or now < self._may_hang_at:
            return None
        self._may_hang_at = now + _HANGS_AFTER_S
        return beat_at

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
