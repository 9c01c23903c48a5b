"""Shared memory in which a child shows what it is running, and until when it may.

    head   watched   by the supervisor: it looks at the deadlines; where it does not, the child asks it to
           retired   by the child: it ends because it was to (recycling), not because it broke
    slot   token     by the child: the running lease, or 0
           deadline  by the child: when (monotonic, in ns, the same clock in all processes) the run is to be killed, or 0
           limit     by the child: the hard time limit in ns, for the error message
           condemned by the supervisor: the token of the run whose process is about to be killed, or 0

Every cell is one aligned word of 8 bytes with one writer, so the two need no lock: a reader sees the old value or the new.
Tokens are never used twice, so who reads the same token before and after has read what belongs to it.

A kill must not hit the next run. The supervisor condemns the token, waits until the child must see that, and looks again:
only a run that has still not ended is killed. The child, whose run has ended, waits while its token is condemned.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import time
from dataclasses import dataclass

__all__ = ["Board", "Deadline"]

_WORD = 8
_WATCHED, _RETIRED = 0, 1
_HEAD = 2
_TOKEN, _DEADLINE, _LIMIT, _CONDEMNED = range(4)
_WIDTH = 4
_NS = 1_000_000_000
_MOST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Deadline:
    """A run with a hard time limit; `at` is of the monotonic clock."""

    slot: int
    token: int
    at: float
    limit_s: float


class Board:
    """The cells of one child."""

    def __init__(self, fd: int, slots: int) -> None:
        self.fd = fd
        self.slots = slots
        self._memory = mmap.mmap(fd, (_HEAD + slots * _WIDTH) * _WORD)
        self._bytes = memoryview(self._memory)
        self._cells = self._bytes.cast("q")

    @classmethod
    def create(cls, slots: int) -> Board:
        """An empty board, whose `fd` is passed to the child."""
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("celeriac-board")
        else:
            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        os.ftruncate(fd, (_HEAD + slots * _WIDTH) * _WORD)
        return cls(fd, slots)

    # ── the child's side ─────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, slot: int, token: int) -> None:
        """The slot starts to run this lease."""
        self._cells[_HEAD + slot * _WIDTH + _TOKEN] = token

    def end(self, slot: int) -> None:
        """The slot runs nothing."""
        self._cells[_HEAD + slot * _WIDTH + _TOKEN] = 0

    def limit(self, slot: int, at: float, limit_s: float) -> None:
        """The slot's run is to be killed at that moment, unless `lift` comes first."""
        first = _HEAD + slot * _WIDTH
        self._cells[first + _LIMIT] = min(int(limit_s * _NS), _MOST)
        self._cells[first + _DEADLINE] = min(int(at * _NS), _MOST)

    def lift(self, slot: int) -> None:
        """The run has ended in time. Where the supervisor thinks otherwise just now, wait for its last word, or the end."""
        first = _HEAD + slot * _WIDTH
        self._cells[first + _DEADLINE] = 0
        while self._cells[first + _CONDEMNED] == self._cells[first + _TOKEN] != 0:
            time.sleep(0.0005)

    @property
    def watched(self) -> bool:
        """Whether the supervisor looks at the deadlines."""
        return self._cells[_WATCHED] != 0

    def retire(self) -> None:
        """This child ends because it was to."""
        self._cells[_RETIRED] = 1

    # ── the supervisor's side ────────────────────────────────────────────────────────────────────────────────────────

    def running(self) -> set[int]:
        """The tokens that are being run."""
        return set(self._cells[_HEAD + _TOKEN :: _WIDTH].tolist()) - {0}

    def deadlines(self) -> list[Deadline]:
        """The runs that have a hard time limit."""
        cells = self._cells
        found = []
        for slot, limited in enumerate(cells[_HEAD + _DEADLINE :: _WIDTH].tolist()):
            if limited:
                first = _HEAD + slot * _WIDTH
                token, at, limit = cells[first + _TOKEN], cells[first + _DEADLINE], cells[first + _LIMIT]
                if at and token and token == cells[first + _TOKEN]:
                    found.append(Deadline(slot, token, at / _NS, limit / _NS))
        return found

    def condemn(self, deadline: Deadline) -> None:
        """The run is about to be killed: if it ends now, nothing else may begin in its slot."""
        self._cells[_HEAD + deadline.slot * _WIDTH + _CONDEMNED] = deadline.token

    def spare(self, deadline: Deadline) -> None:
        """It is not killed after all."""
        self._cells[_HEAD + deadline.slot * _WIDTH + _CONDEMNED] = 0

    def overruns(self, deadline: Deadline) -> bool:
        """Whether the run has still not ended."""
        first = _HEAD + deadline.slot * _WIDTH
        return self._cells[first + _DEADLINE] != 0 and self._cells[first + _TOKEN] == deadline.token

    def watch(self, watched: bool) -> None:
        """Tell the child whether its deadlines are looked at."""
        self._cells[_WATCHED] = int(watched)

    @property
    def retired(self) -> bool:
        """Whether the child has said that it ends because it was to."""
        return self._cells[_RETIRED] != 0

    def close(self) -> None:
        """Let go of the memory."""
        self._cells.release()
        self._bytes.release()
        self._memory.close()
        os.close(self.fd)
