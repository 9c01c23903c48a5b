"""Who is alive: a node holds a lock on a file beside the store for as long as its process lives.

The kernel lets go of the lock in the instant the process dies, however it dies, and never before. So nobody is declared
dead for being slow or stopped, no clock is compared, and process ids (which containers do not share and systems reuse)
mean nothing. Two open files of one process exclude each other too (flock, not POSIX locks).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

__all__ = ["NodeLocks"]


class NodeLocks:
    """The lock files of one store's nodes."""

    def __init__(self, folder: Callable[[], Path]) -> None:
        self._folder = folder
        self._held: dict[str, int] = {}

    def hold(self, node_id: str) -> None:
        """Be alive as `node_id` until `release` or the end of this process. Again after the folder was deleted."""
        held = self._held.pop(node_id, None)
        if held is not None:
            if os.fstat(held).st_nlink > 0:
                self._held[node_id] = held
                return
            os.close(held)
        self._folder().mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path(node_id), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # Waits for no one but who is looking (`alive`) in this instant.
        fcntl.flock(fd, fcntl.LOCK_EX)
        self._held[node_id] = fd

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

    def abandon(self) -> None:
        """After a fork: the parent is the node, not this process. A copy left open would keep it alive for ever."""
        held, self._held = self._held, {}
        for fd in held.values():
            os.close(fd)

    def _path(self, node_id: str) -> Path:
        return self._folder() / f"{node_id}.node"
