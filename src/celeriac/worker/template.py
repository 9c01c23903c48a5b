"""The template: a process that imports the application once and forks children from it.

It stays single-threaded (as far as the application lets it), so that forking is safe, and opens no store. It calls the
receivers of the worker's signals (announcing.py), does what its supervisor says, and reports the end of each child in the
instant it ends. It is itself a fork of the supervisor, made before that has threads, stores or handlers: so it starts at
once, and all processes of a worker share what was imported until then.
"""

from __future__ import annotations

import atexit
import gc
import os
import select
import signal
import sys
import traceback
from typing import NoReturn

import msgspec
from msgspec.structs import replace

from celeriac.crashpoints import reach
from celeriac.exceptions import CeleriacError
from celeriac.loading import AppImportError
from celeriac.worker.announcing import LAST_WORDS_S, Announce, Announcer, AnnounceRevoked, Worker, start
from celeriac.worker.board import Board
from celeriac.worker.channel import Channel, Closed
from celeriac.worker.child import run_child
from celeriac.worker.logs import WorkerLog
from celeriac.worker.plan import Plan, Wishes
from celeriac.worker.processes import (
    close_all_but,
    die_with_parent,
    end_fork,
    flush_standard_streams,
    fork_process,
    leave_signals_to_the_supervisor,
    wake_pipe,
)

__all__ = ["Ended", "Failed", "Fork", "Forked", "be_template"]


class Fork(msgspec.Struct, frozen=True):
    """Supervisor to template, with three descriptors: the child's channel, its board and where its last words go.

    The node's id may change.
    """

    number: int
    name: str
    slots: int
    node_id: str


class Forked(msgspec.Struct, frozen=True):
    """The answer. Without a pid the system gave us no process, for this reason."""

    number: int
    pid: int | None
    reason: str = ""


class Ended(msgspec.Struct, frozen=True):
    """A child is no more. `status` is an exit status, or minus a signal's number; `peak_kib` the most memory it used."""

    number: int
    status: int
    peak_kib: int | None = None


class Failed(msgspec.Struct, frozen=True):
    """The application could not be loaded."""

    message: str


def be_template(channel: Channel, wishes: Wishes, supervisor: int) -> NoReturn:
    """Serve the supervisor at the other end of the channel. For a freshly forked process."""
    status = 1
    try:
        die_with_parent(supervisor)
        close_all_but(channel.fileno())  # a pid file's lock, the pipe of who waits for a worker in the background
        leave_signals_to_the_supervisor()
        _serve(channel, wishes, supervisor)
        atexit._run_exitfuncs()  # the application's
        status = 0
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        end_fork(status)


def _serve(channel: Channel, wishes: Wishes, supervisor: int) -> None:
    try:
        try:
            worker, plan, log = start(wishes, supervisor)
        except CeleriacError as error:
            if isinstance(error, AppImportError):
                error.print_cause()  # here, as it cannot travel
            channel.send(Failed(str(error)))
            return
        except Exception as error:
            traceback.print_exception(error)
            channel.send(Failed(f"the application could not be loaded: {type(error).__name__}: {error}"))
            return
        flush_standard_streams()  # what modules printed, or every child would print it again
        channel.send(plan)
        # What is here now is shared by all children for their whole lives; the collector must not touch (copy) it.
        gc.collect()
        gc.freeze()
        template = _Template(worker, plan, log, channel)
        try:
            template.serve()
        except Closed:
            template.announcer.wait(LAST_WORDS_S)
    except Closed:
        pass


class _Template:
    def __init__(self, worker: Worker, plan: Plan, log: WorkerLog, channel: Channel) -> None:
        self.announcer = Announcer(worker)
        self._app = worker.app
        self._plan = plan
        self._log = log
        self._channel = channel
        self._numbers: dict[int, int] = {}
        # SIGCHLD writes a byte to this pipe, so that one poll waits for orders and for deaths.
        self._wake_read, self._wake_write = wake_pipe()
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)

    def serve(self) -> None:
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self._wake_read:
                    os.read(self._wake_read, 4096)
                    self._reap()
                else:
                    order, fds = self._channel.receive(most_fds=3)
                    if isinstance(order, Announce):
                        self.announcer.announce(order.name, **order.facts)
                    elif isinstance(order, AnnounceRevoked):
                        self.announcer.announce_revoked(order)
                    else:
                        assert isinstance(order, Fork)
                        self._fork(order, *fds)

    def _fork(self, order: Fork, channel_fd: int, board_fd: int, words_fd: int) -> None:
        parent = os.getpid()
        reach("forking")
        self.announcer.before_fork()
        reason = ""
        try:
            pid: int | None = fork_process()
        except OSError as error:  # too many processes, or too little memory: both may pass
            pid, reason = None, str(error)
        if pid == 0:
            self._be_child(order, channel_fd, board_fd, words_fd, parent)
        reach("forked")
        os.close(channel_fd)
        os.close(board_fd)
        os.close(words_fd)
        if pid is not None:
            self._numbers[pid] = order.number
        self._channel.send(Forked(order.number, pid, reason))

    def _be_child(self, order: Fork, channel_fd: int, board_fd: int, words_fd: int, parent: int) -> None:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._channel.close()
            os.close(self._wake_read)
            os.close(self._wake_write)
            channel, board = Channel.from_fd(channel_fd), Board(board_fd, order.slots)
            plan = replace(self._plan, node_id=order.node_id)
            run_child(self._app, plan, self._log, order.number, order.name, channel, board, words_fd, parent)
            status = 0
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
        finally:
            end_fork(status)

    def _reap(self) -> None:
        while self._numbers:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            number = self._numbers.pop(pid, None)
            if number is not None:
                peak_kib = used.ru_maxrss // (1024 if sys.platform == "darwin" else 1)
                self._channel.send(Ended(number, os.waitstatus_to_exitcode(status), peak_kib))
