"""The supervisor's hand on the template: it starts it, has it fork children and send signals, and ends it."""

from __future__ import annotations

import os
import subprocess
import sys
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
from celeriac.worker.processes import exit_text, signals_held_back
from celeriac.worker.revoked_runs import RevokedRun
from celeriac.worker.template import Ended, Failed, Fork, Forked

__all__ = ["TemplateProcess"]


class TemplateProcess:
    """Started at once, and loading the application then. Methods that talk to it raise `Closed` when it has died."""

    def __init__(self, wishes: Wishes) -> None:
        self._channel, theirs = Channel.pair()
        with signals_held_back():
            self._process = subprocess.Popen(
                [sys.executable, *_interpreter_flags(), "-m", "celeriac.worker.template", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
            )
        theirs.close()
        self._channel.send((wishes, os.getpid()))

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
        return exit_text(self._process.wait())

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def end(self) -> None:
        """Have it end; returns when it has."""
        self._channel.close()
        try:
            self._process.wait(timeout=LAST_WORDS_S + 2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _tell(self, word: Announce | AnnounceRevoked) -> None:
        try:
            self._channel.send(word)
        except Closed:
            pass


def _interpreter_flags() -> list[str]:
    """The flags this Python was started with, so that -W error and the like hold in the template too."""
    return subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined,no-any-return]
