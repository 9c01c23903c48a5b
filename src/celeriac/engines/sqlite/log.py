"""The write-ahead log as a file of ours, to wait for the disk without the write lock.

Transactions end up in the log in their order, so whoever syncs it makes all that were committed before durable too, those
of other processes included. SQLite takes no locks on this file, so that it may be opened and closed beside it (which is
not so for the store itself: see database.py).
"""

from __future__ import annotations

import os

__all__ = ["Log"]

#: On some systems there is no other than the slower one.
_sync = getattr(os, "fdatasync", os.fsync)


class Log:
    """The log at a path. Closed with its last reference: other threads may be syncing it."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def sync(self) -> None:
        """Return when all that was committed before is on the disk."""
        _sync(self._fd)

    def __del__(self) -> None:
        fd = getattr(self, "_fd", None)  # None: it could not be opened
        if fd is not None:
            os.close(fd)
