"""Shared memory in which a child shows what it is running, and until when it may.

    head   watched   by the supervisor: it looks at the deadlines; where it does not, the child asks it to
           minded    by the supervisor: it looks at the beat; likewise
           retired   by the child: it ends because it was to (recycling), not because it broke
           asked     by the child: how often it has asked the supervisor to look
           heard     by the supervisor: how often it has been asked, as far as it knows
           beat      by the child: when (monotonic, in ns) its courier last had a turn, or 0 while nothing waits there
           withdrawn by the supervisor: leases up to this token that were not being run have been taken away
    slot   token     by the child: the running lease, or 0; negative while what was begun waits for a thread
           deadline  by the child: when (monotonic, in ns, the same clock in all processes) the run is to be killed, or 0
           limit     by the child: the hard time limit in ns, for the error message
           condemned by the supervisor: the token of the run whose process is about to be killed, or 0; negative where that
                     is for a revocation
           latest    by the child: the highest token that was begun here

Every cell is one aligned word of 8 bytes with one writer, so the two need no lock: a reader sees the old value or the new.
Tokens are never used twice, so who reads the same token before and after has read what belongs to it.

A kill must not hit the next run. The supervisor condemns the token, waits until the child must see that, and looks again:
only a run that has still not ended is killed. The child, whose run has ended, waits while its token is condemned.

What waits unstarted behind a run that lets no other thread have a turn is taken away (`withdraw`), and not run twice: the
child shows a lease and then looks whether it was withdrawn, the supervisor withdraws and then looks what is shown. Nor is
what has ended before that run, but whose commit has not left: slots begin leases in the order of their tokens.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Collection

import msgspec

from celeriac.worker.processes import anonymous_file

__all__ = ["Board", "Deadline"]

_WORD = 8
_WATCHED, _MINDED, _RETIRED, _ASKED, _HEARD, _BEAT, _WITHDRAWN = range(7)
_HEAD = 7
_TOKEN, _DEADLINE, _LIMIT, _CONDEMNED, _LATEST = range(5)
_WIDTH = 5
_NS = 1_000_000_000
_MOST = 2**63 - 1
#: How long the other side needs at most to see what was written.
_HESITATION_S = 0.001


class Deadline(msgspec.Struct, frozen=True):
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
        fd = anonymous_file("celeriac-board")
        os.ftruncate(fd, (_HEAD + slots * _WIDTH) * _WORD)
        return cls(fd, slots)

    # ── the child's side ─────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, slot: int, token: int) -> None:
        """The slot starts to run this lease."""
        self._cells[_HEAD + slot * _WIDTH + _TOKEN] = token

    def defer(self, slot: int, token: int) -> None:
        """The slot has this lease, but no code of its task is running: it waits for a thread."""
        self._cells[_HEAD + slot * _WIDTH + _TOKEN] = -token

    def withdrawn(self, token: int) -> bool:
        """Whether the lease, which was shown just now, had been taken away before."""
        return token <= self._cells[_WITHDRAWN]

    def confirm(self, slot: int, token: int) -> None:
        """The lease, which is shown, was not taken away: the run begins, and is never unbegun again."""
        latest = _HEAD + slot * _WIDTH + _LATEST
        self._cells[latest] = max(self._cells[latest], token)

    def end(self, slot: int) -> None:
        """The slot runs nothing. Where the supervisor is about to end the run, wait for its last word, or the end."""
        first = _HEAD + slot * _WIDTH
        token = self._cells[first + _TOKEN]
        self._cells[first + _TOKEN] = 0
        while self._cells[first + _CONDEMNED] == -token != 0:
            time.sleep(0.0005)

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
    def doomed(self) -> bool:
        """Whether the supervisor ends a run of this process, and the process with it."""
        return min(self._cells[_HEAD + _CONDEMNED :: _WIDTH]) < 0

    @property
    def watched(self) -> bool:
        """Whether the supervisor looks at the deadlines."""
        return self._cells[_WATCHED] != 0

    @property
    def minded(self) -> bool:
        """Whether the supervisor looks at the beat."""
        return self._cells[_MINDED] != 0

    def ask(self) -> bool:
        """Whether the supervisor is to be told to look: not while it has not heard the last time."""
        if self._cells[_ASKED] != self._cells[_HEARD]:
            return False
        self._cells[_ASKED] += 1
        return True

    def beat(self) -> None:
        """The courier has its turn, and something waits in it unstarted, or soon may."""
        self._cells[_BEAT] = time.monotonic_ns()

    def rest(self) -> None:
        """Nothing waits."""
        self._cells[_BEAT] = 0

    def retire(self) -> None:
        """This child ends because it was to."""
        self._cells[_RETIRED] = 1

    # ── the supervisor's side ────────────────────────────────────────────────────────────────────────────────────────

    def running(self) -> set[int]:
        """The tokens that are being run."""
        return {token for token in self._tokens() if token > 0}

    def withdraw(self, tokens: Collection[int]) -> set[int]:
        """Take these away from the child, but for those that it has begun; returns what was taken.

        What it has passed over (such as an older lease, adopted after an outage) it keeps, and gives back itself.
        """
        self._cells[_WITHDRAWN] = max(self._cells[_WITHDRAWN], *tokens)
        time.sleep(_HESITATION_S)
        shown = {abs(token) for token in self._tokens()}
        latest = max(self._cells[_HEAD + _LATEST :: _WIDTH])  # read last: what has ended meanwhile stands here
        return {token for token in tokens if token > latest and token not in shown}

    def hear(self) -> None:
        """The child has asked; from here on it asks again."""
        self._cells[_HEARD] = self._cells[_ASKED]

    @property
    def beat_at(self) -> float | None:
        """When (monotonic) the courier last had a turn; None while nothing waits in it."""
        beat_ns = self._cells[_BEAT]
        return beat_ns / _NS if beat_ns else None

    def another(self) -> Board:
        """The same board, for who may still need it when this one is closed."""
        return Board(os.dup(self.fd), self.slots)

    def _tokens(self) -> list[int]:
        return self._cells[_HEAD + _TOKEN :: _WIDTH].tolist()

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

    def doom(self, token: int) -> int | None:
        """The run is about to be ended with its process: when it ends by itself, nothing else may begin. Its slot."""
        for slot in range(self.slots):
            first = _HEAD + slot * _WIDTH
            if self._cells[first + _TOKEN] == token:
                self._cells[first + _CONDEMNED] = -token
                return slot
        return None

    def runs(self, slot: int, token: int) -> bool:
        """Whether that run has not ended."""
        return self._cells[_HEAD + slot * _WIDTH + _TOKEN] == token

    def pardon(self, slot: int) -> None:
        """The run had ended; the process goes on."""
        self._cells[_HEAD + slot * _WIDTH + _CONDEMNED] = 0

    def watch(self, watched: bool) -> None:
        """Tell the child whether its deadlines are looked at."""
        self._cells[_WATCHED] = int(watched)

    def mind(self, minded: bool) -> None:
        """Tell the child whether its beat is looked at."""
        self._cells[_MINDED] = int(minded)

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
