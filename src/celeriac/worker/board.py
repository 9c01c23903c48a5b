"""Shared memory in which a child shows what it is running, so that its supervisor knows when it dies.

One cell of 8 bytes for each slot: the token of the running lease, or 0. The child alone writes; the supervisor reads after
the child's death, when nothing changes any more. So the two need no lock.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile

__all__ = ["Board"]

_CELL = struct.Struct("=q")


class Board:
    """The cells of one child."""

    def __init__(self, fd: int, slots: int) -> None:
        self.fd = fd
        self._memory = mmap.mmap(fd, slots * _CELL.size)

    @classmethod
    def create(cls, slots: int) -> Board:
        """An empty board, whose `fd` is passed to the child."""
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("celeriac-board")
        else:
            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        os.ftruncate(fd, slots * _CELL.size)
        return cls(fd, slots)

    def begin(self, slot: int, token: int) -> None:
        """The slot starts to run this lease."""
        _CELL.pack_into(self._memory, slot * _CELL.size, token)

    def end(self, slot: int) -> None:
        """The slot runs nothing."""
        _CELL.pack_into(self._memory, slot * _CELL.size, 0)

    def running(self) -> set[int]:
        """The tokens that are being run."""
        return {token for (token,) in _CELL.iter_unpack(self._memory)} - {0}

    def close(self) -> None:
        """Let go of the memory."""
        self._memory.close()
        os.close(self.fd)
