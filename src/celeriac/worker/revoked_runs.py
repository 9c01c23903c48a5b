"""Ending a run that was revoked with its process, from the supervisor (prefork)."""

from __future__ import annotations

import os
import signal
import time

from celeriac.engines.base import RevokedLease
from celeriac.worker.board import Board

__all__ = ["CHECK_S", "RevokedRun"]

#: How often to look whether a run that was asked to end has.
CHECK_S = 0.02
#: How long a process needs at most to see on its board that it is doomed.
_HESITATION_S = 0.001
#: A process that lives on after the signal that was asked for is killed.
_PATIENCE_S = 2.0


class RevokedRun:
    """A run that is ended with its process: by the signal that was asked for, then by SIGKILL.

    The board is told first, and the child given time to see it: a run that ends in this moment is spared, and the next one
    cannot begin before it is decided. So the signal hits the run it was meant for, or nobody.
    """

    def __init__(self, board: Board, pid: int, lease: RevokedLease) -> None:
        self.lease = lease
        self.signal = signal.Signals(lease.signum or signal.SIGTERM)
        self._board = board
        self._pid = pid
        self._kill_at = time.monotonic() + _PATIENCE_S
        self._killed = False
        self._slot: int | None = None

    def begin(self) -> bool:
        """Send the signal; False if the run has ended, and the process was spared."""
        slot = self._slot = self._board.doom(self.lease.token)
        if slot is None:
            return False
        time.sleep(_HESITATION_S)
        if not self._board.runs(slot, self.lease.token):
            self._board.pardon(slot)
            return False
        self._send(self.signal)
        return True

    @property
    def cut_short(self) -> bool:
        """Whether the run did not come to an end of its own: then it has told nobody that it was revoked."""
        return self._slot is not None and self._board.runs(self._slot, self.lease.token)

    def look(self) -> None:
        """Kill the process when the run has ended, having cleaned up, or its time is over."""
        assert self._slot is not None
        over = not self._board.runs(self._slot, self.lease.token) or time.monotonic() >= self._kill_at
        if over and not self._killed:
            self._killed = True
            self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        try:
            os.kill(self._pid, number)
        except ProcessLookupError:
            pass
