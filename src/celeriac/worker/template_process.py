"""The supervisor's hand on the template: it starts it, has it fork children and send signals, and ends it."""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from celeriac.exceptions import ConfigError
from celeriac.messages import Message
from celeriac.worker.announcing import LAST_WORDS_S, Announce, AnnounceRevoked
from celeriac.worker.board import Board
from celeriac.worker.channel import Channel, Closed
from celeriac.worker.children import ChildProcess
from celeriac.worker.last_words import LastWords
from celeriac.worker.plan import Plan, Wishes
from celeriac.worker.processes import exit_text, flush_standard_streams, fork_process, signals_held_back
from celeriac.worker.revoked_runs import RevokedRun
from celeriac.worker.template import Ended, Failed, Fork, Forked, be_template

__all__ = ["TemplateProcess"]

_LOOK_S = 0.005


class TemplateProcess:
    """Forked at once, by a process that has no threads of ours yet, and loading the application then.

    Methods that talk to it raise `Closed` when it has died.
    """

    def __init__(self, wishes: Wishes) -> None:
        self._channel, theirs = Channel.pair()
        self._status: int | None = None
        supervisor = os.getpid()
        flush_standard_streams()  # or both of us would write what is in their buffers
        gc.freeze()  # what is here is shared by all processes, and a collector that looks at it would copy it
        with signals_held_back():
            self._pid = fork_process()
            if self._pid == 0:
                self._channel.close()
                be_template(theirs, wishes, supervisor)
        theirs.close()

    def fileno(self) -> int:
        """Readable when it has something to say."""
        return self._channel.fileno()

    def receive_plan(self) -> Plan:
        """What it makes of the application: its first word. Raises `ConfigError`."""
        try:
            answer, _ = self._channel.receive()
        except Closed:
            raise ConfigError(f"the process that loads the application ended before it had: {self.wait()}") from None
        if isinstance(answer, Failed):
            raise ConfigError(answer.message)
        assert isinstance(answer, Plan)
        return answer

    def fork(self, number: int, name: str, slots: int, node_id: str, ended: Callable[[Ended], None]) -> ChildProcess:
        """A new child; raises `OSError` when the system has no process, memory or descriptor for it now.

        `ended` is called for the ends of others that it tells of meanwhile.
        """
        board, last_words = Board.create(slots), LastWords()
        try:
            ours, theirs = Channel.pair()
        except OSError:
            board.close()
            last_words.close()
            raise
        fds = [theirs.fileno(), board.fd, last_words.fd]
        self._channel.send(Fork(number, name, board.slots, node_id), fds)
        theirs.close()
        while True:
            answer, _ = self._channel.receive()
            if isinstance(answer, Forked):
                break
            ended(answer)
        if answer.pid is None:
            ours.close()
            board.close()
            last_words.close()
            raise OSError(answer.reason)
        return ChildProcess(number, name, answer.pid, ours, board, last_words, node_id)

    def receive_end(self) -> Ended:
        """The end of a child, when there is something to read."""
        message, _ = self._channel.receive()
        assert isinstance(message, Ended)
        return message

    def announce(self, name: str, **facts: Any) -> None:
        """Have it send a signal, if it still can."""
        self._tell(Announce(name, facts))

    def announce_revoked(self, run: RevokedRun) -> None:
        """Have it send `task_revoked` for a run that could not, if it still can."""
        message = run.lease.message
        if isinstance(message, Message):
            self._tell(AnnounceRevoked(message, run.lease.queue, run.signal))

    def wait(self) -> str:
        """How it has ended, when it has."""
        status = self._status_of_the_dead(0)
        assert status is not None
        return exit_text(status)

    def kill(self) -> None:
        """End it at once."""
        if self._status is None:
            os.kill(self._pid, signal.SIGKILL)

    def end(self) -> None:
        """Have it end; returns when it has."""
        self._channel.close()
        deadline = time.monotonic() + LAST_WORDS_S + 2
        while self._status_of_the_dead(os.WNOHANG) is None:
            if time.monotonic() > deadline:
                self.kill()
                self.wait()
            time.sleep(_LOOK_S)

    def _status_of_the_dead(self, flags: int) -> int | None:
        if self._status is None:
            try:
                pid, status = os.waitpid(self._pid, flags)
            except ChildProcessError:  # whoever started us has us ignore the ends of our children
                pid, status = self._pid, 0
            if pid == self._pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def _tell(self, word: Announce | AnnounceRevoked) -> None:
        try:
            self._channel.send(word)
        except Closed:
            pass
