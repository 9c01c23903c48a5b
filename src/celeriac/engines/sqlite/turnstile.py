"""Writers of different processes take turns, so that none starves.

Two locks beside the store: whoever wants to write takes the door, then the turn, and then lets go of the door. Who has just
written finds the next one at the door, and cannot be first again. The turn is held to the end of the commit: what SQLite
does there now and then, moving the log's pages into the file, comes to an end only while nobody else writes, and only then
does the log begin anew.

It is a matter of fairness alone; what must hold is held by SQLite's own lock. So nobody waits here for long: whoever is in
front may have been stopped.
"""

from __future__ import annotations

import fcntl
import os
import random
import time
from pathlib import Path

__all__ = ["Turnstile"]

#: After this long who waits tries its luck at SQLite's lock.
_LONGEST_WAIT_S = 0.5
_AT_THE_DOOR_S = (0.0001, 0.0005)
_NEXT_S = (0.00001, 0.00005)


class Turnstile:
    """One process's way in. For one thread at a time. Ends with its last reference, like the locks it holds."""

    def __init__(self, folder: Path) -> None:
        self._fds: list[int] = []
        try:
            folder.mkdir(exist_ok=True)
            for name in ("door", "turn"):
                self._fds.append(os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError:  # a full disk, say; what there is to say of it SQLite will say
            self._close()

    def enter(self, deadline: float) -> None:
        """Return when it is our turn, or nearly: also when that takes too long."""
        if self._fds:
            door, turn = self._fds
            deadline = min(deadline, time.monotonic() + _LONGEST_WAIT_S)
            if _locked(door, deadline, _AT_THE_DOOR_S):
                try:
                    _locked(turn, deadline, _NEXT_S)
                finally:
                    fcntl.flock(door, fcntl.LOCK_UN)

    def leave(self) -> None:
        """Let the next one in. Idempotent."""
        if self._fds:
            fcntl.flock(self._fds[1], fcntl.LOCK_UN)

    def __del__(self) -> None:
        self._close()

    def _close(self) -> None:
        # Closed, not unlocked: the copy that a forked child closes must not open the way to its parent's turn.
        fds, self._fds = self._fds, []
        for fd in fds:
            os.close(fd)


def _locked(fd: int, deadline: float, between_s: tuple[float, float]) -> bool:
    """Whether we got the lock by the deadline. The kernel would wait without end, and in no fairer order."""
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
        else:
            return True
        time.sleep(random.uniform(*between_s))
