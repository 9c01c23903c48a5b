"""The supervisor's view of one child: what it has asked of it, and why it has ended it."""

from __future__ import annotations

import os
import select
import signal
import time
from typing import Any

from celeriac.worker.board import Board
from celeriac.worker.channel import Channel, Closed
from celeriac.worker.deadlines import Watch
from celeriac.worker.last_words import LastWords
from celeriac.worker.revoked_runs import RevokedRun

__all__ = ["ChildProcess"]

_LONGEST_DYING_S = 2.0


class ChildProcess:
    """One child, until it has been reported as ended."""

    def __init__(
        self, number: int, name: str, pid: int, channel: Channel, board: Board, last_words: LastWords, node_id: str
    ) -> None:
        self.number = number
        self.name = name
        self.pid = pid
        self.channel = channel
        self.board = board
        self.last_words = last_words
        #: As what it claims.
        self.node_id = node_id
        self.watch = Watch(board)
        #: Monotonic.
        self.started = time.monotonic()
        #: By us.
        self.killed = False
        #: It has closed its channel: it is about to end.
        self.silent = False
        #: Why it was killed: the hard time limits, by token, of the runs that passed them.
        self.timed_out: dict[int, float] = {}
        #: Why it is ended: this run was revoked.
        self.revoked_run: RevokedRun | None = None
        #: When (monotonic) to kill it, because it is to end and may not.
        self.kill_at: float | None = None

    @property
    def next_look(self) -> float | None:
        """When (monotonic) to see to it without having heard of it; None: not at all."""
        moments = [moment for moment in (self.watch.next_look, self.kill_at) if moment is not None]
        return None if self.killed else min(moments, default=None)

    def tell(self, word: Any) -> None:
        """Send it a word, if it is still there to hear it, and hears: we must not wait for one that is stopped or hangs."""
        try:
            self.channel.send_now(word)
        except Closed:
            pass

    def kill(self) -> None:
        """By SIGKILL."""
        self.killed = True
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def end_revoked(self, run: RevokedRun) -> bool:
        """End the run, and the process with it; False if the run has ended, and the process goes on."""
        if not run.begin():
            return False
        self.killed, self.revoked_run = True, run
        return True

    def await_death(self) -> None:
        """For when the template is not there to tell: the child's end of the channel closes with it."""
        poll = select.poll()
        poll.register(self.channel.fileno(), select.POLLIN)
        poll.poll(_LONGEST_DYING_S * 1000)

    def close(self) -> None:
        """Let go of what we shared with it: it has ended."""
        self.channel.close()
        self.board.close()
        self.last_words.close()
