"""Who is alive: a node holds a lock on a file beside the store for as long as its process lives.

The kernel lets go of the lock in the instant the process dies, however it dies, and never before. So nobody is declared
dead for being slow or stopped, no clock is compared, and process ids (which containers do not share and systems reuse)
mean nothing. Two open files of one process exclude each other too (flock, not POSIX locks).
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["NodeLocks"]

_FRESH_S = 60.0


class NodeLocks:
    """The lock files of one store's nodes."""

    def __init__(self, folder: Callable[[], Path]) -> None:
        self._folder = folder
        self._held: dict[str, int] = {}

    def hold(self, node_id: str) -> None:
        """Be alive as `node_id` until `release` or the end of this process. Again after the folder was deleted or moved."""
        held = self._held.pop(node_id, None)
        if held is not None:
            if _is_at(held, self._path(node_id)):
                self._held[node_id] = held
                return
            os.close(held)
        self._folder().mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path(node_id), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # Waits for no one but who is looking (`alive`) in this instant.
        fcntl.flock(fd, fcntl.LOCK_EX)
        self._held[node_id] = fd

    def keep(self, node_id: str) -> None:
        """`hold` again what this process holds, should its file have been taken away."""
        if node_id in self._held:
            self.hold(node_id)

    def release(self, node_id: str) -> None:
        """Be dead. Idempotent."""
        fd = self._held.pop(node_id, None)
        if fd is not None:
            self.forget(node_id)
            os.close(fd)

    def alive(self, node_id: str) -> bool:
        """Whether some process holds the node's lock."""
        try:
            fd = os.open(self._path(node_id), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except PermissionError:
            return True  # another user's: nobody is declared dead for what cannot be seen
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def forget(self, node_id: str) -> None:
        """Remove the lock file of a node that is dead."""
        try:
            self._path(node_id).unlink()
        except FileNotFoundError:
            pass

    def sweep(self) -> None:
        """Remove what was left by processes that were killed before the store knew of them."""
        for path in self._folder().glob("*.node"):
            try:
                # One made this instant and not locked yet looks dead too.
                if path.stat().st_mtime < time.time() - _FRESH_S and not self.alive(path.stem):
                    path.unlink()
            except OSError:
                pass

    def abandon(self) -> None:
        """After a fork: the parent is the node, not this process. A copy left open would keep it alive for ever."""
        held, self._held = self._held, {}
        for fd in held.values():
            os.close(fd)

    def _path(self, node_id: str) -> Path:
        return self._folder() / f"{node_id}.node"


def _is_at(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False
