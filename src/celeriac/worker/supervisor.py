"""The supervisor: starts the template and the children, replaces who dies, and stops them in order.

No task code and no application runs in this process, so nothing a task does can keep it from renewing the node's lease.
Children die with it (die_with_parent), so `kill -9` of the supervisor leaves no one working under a dead node's name.

A run that passes its hard time limit is ended with its child, by SIGKILL (deadlines.py); a new child starts at once.

Shutdown: the first SIGTERM or SIGINT lets running tasks finish for at most `worker_shutdown_grace` seconds, while what has
not begun goes back; then, or at a second signal, the children are killed and what they ran goes back uncounted.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from celeriac.exceptions import ConfigError
from celeriac.retries import Backoff
from celeriac.worker.announcing import LAST_WORDS_S, Announce
from celeriac.worker.banner import banner
from celeriac.worker.board import Board
from celeriac.worker.channel import Channel, Closed
from celeriac.worker.child import STOP, WATCH
from celeriac.worker.deadlines import Watch
from celeriac.worker.leases import DeadChild, LeaseService
from celeriac.worker.logs import MAIN_PROCESS, WorkerLog
from celeriac.worker.plan import Plan, Wishes
from celeriac.worker.processes import exit_text, stop_signals, wake_pipe
from celeriac.worker.starting import purge_first, register_patiently, say
from celeriac.worker.template import Ended, Failed, Fork, Forked

__all__ = ["Supervisor"]

logger = logging.getLogger("celeriac.worker")

#: A child that dies sooner than this after its start has its successor wait, so that a broken worker does not spin.
_SOON_S = 1.0
_LAST_SETTLING_S = 10.0
_LONGEST_DYING_S = 2.0


@dataclass(slots=True)
class _Child:
    number: int
    name: str
    pid: int
    channel: Channel
    board: Board
    watch: Watch
    started: float = field(default_factory=time.monotonic)
    #: By us.
    killed: bool = False
    #: It has closed its channel: it is about to end.
    silent: bool = False
    #: Why it was killed: the hard time limits, by token, of the runs that passed them.
    timed_out: dict[int, float] = field(default_factory=dict)

    def kill(self) -> None:
        self.killed = True
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def await_death(self) -> None:
        """For when the template is not there to tell: the child's end of the channel closes with it."""
        poll = select.poll()
        poll.register(self.channel.fileno(), select.POLLIN)
        poll.poll(_LONGEST_DYING_S * 1000)


class Supervisor:
    """A worker with child processes. `run` blocks until it is stopped by a signal, and returns the exit status."""

    def __init__(self, wishes: Wishes, ready: Callable[[], None] | None = None) -> None:
        self._wishes = wishes
        self._tell_ready = ready
        self._children: dict[int, _Child] = {}
        self._next_number = 1
        self._signals = 0
        #: The last of them.
        self._signal_name = ""
        #: When (monotonic) to start a child, and its name.
        self._starts: list[tuple[float, str]] = []
        self._quick_deaths = 0
        self._backoff = Backoff(first_s=0.5, longest_s=30.0)
        self._wake_read, self._wake_write = wake_pipe()

    def run(self) -> int:
        """Raises `ConfigError` when the application or its settings do not allow a start."""
        self._template, self._channel = self._start_template()
        self._catch_signals()
        try:
            received = self._receive_plan()
            if received is None:
                return 0
            plan = self._plan = received
            if plan.pool == "solo":
                self._end_template()
                from celeriac.worker.pools.solo import run_solo

                return run_solo(self._wishes, self._tell_ready)
            WorkerLog(plan.log).set_up(MAIN_PROCESS)
            broker = plan.open_broker()
            results = plan.open_results(broker)
            register_patiently(broker, plan, lambda: self._signals > 0)
            if self._signals:
                return 0
            purge_first(broker, plan)
            if not self._wishes.quiet:
                say(banner(plan, broker.describe(), results.describe()))
            self._leases = LeaseService(plan, broker, results)
            self._leases.start()
            now = time.monotonic()
            self._starts = [(now, name) for name in plan.children]
            status = self._watch()
            try:
                self._stop()
            except Closed:
                self._template_died()
                status = 1
            if self._leases.stop(_LAST_SETTLING_S):
                broker.unregister(plan.node_id)
            results.close()
            broker.close()
            return status
        finally:
            self._announce("worker_shutdown")
            self._end_template()

    # ── the template ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _start_template(self) -> tuple[subprocess.Popen[bytes], Channel]:
        ours, theirs = Channel.pair()
        process = subprocess.Popen(
            [sys.executable, *_interpreter_flags(), "-m", "celeriac.worker.template", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        ours.send((self._wishes, os.getpid()))
        return process, ours

    def _receive_plan(self) -> Plan | None:
        """What the template makes of the application; None when a signal came first (loading may take for ever)."""
        self._poll().poll()
        if self._signals:
            self._template.kill()
            return None
        try:
            answer, _ = self._channel.receive()
        except Closed:
            raise ConfigError(
                f"the process that loads the application ended before it had: {exit_text(self._template.wait())}"
            ) from None
        if isinstance(answer, Failed):
            raise ConfigError(answer.message)
        assert isinstance(answer, Plan)
        return answer

    def _end_template(self) -> None:
        self._channel.close()
        for child in self._children.values():
            child.kill()
        try:
            self._template.wait(timeout=LAST_WORDS_S + 2)
        except subprocess.TimeoutExpired:
            self._template.kill()
            self._template.wait()

    def _announce(self, name: str, **facts: Any) -> None:
        """Have the template send a signal, if it still can."""
        try:
            self._channel.send(Announce(name, facts))
        except Closed:
            pass

    # ── children ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _fork(self, name: str) -> None:
        number, self._next_number = self._next_number, self._next_number + 1
        ours, theirs = Channel.pair()
        board = Board.create(self._plan.slots)
        self._channel.send(Fork(number, name, board.slots), [theirs.fileno(), board.fd])
        theirs.close()
        while True:
            answer, _ = self._channel.receive()
            if isinstance(answer, Forked):
                break
            self._ended(answer)
        self._children[number] = _Child(number, name, answer.pid, ours, board, Watch(board))

    def _ended(self, ended: Ended) -> None:
        child = self._children.pop(ended.number)
        child.channel.close()
        stopping = self._signals > 0
        running, retired = frozenset(child.board.running()), child.board.retired and ended.status == 0
        if running or not (stopping and ended.status == 0):
            how = exit_text(ended.status)
            if not child.killed and not retired:
                logger.error("Process %r pid:%d ended with %s", child.name, child.pid, how)
            # Killed by us at the end of the grace period, or for another run's sake: an interruption, not the task's doing.
            counted = not stopping and not child.timed_out
            self._leases.child_died(
                DeadChild(child.number, running, f"its process ended with {how}", counted, child.timed_out)
            )
        child.board.close()
        if not stopping:
            # A task that takes its process down is no reason to have other tasks wait for a new one.
            soon = not running and not retired and time.monotonic() - child.started < _SOON_S
            self._quick_deaths = self._quick_deaths + 1 if soon else 0
            delay_s = self._backoff.delay_s(self._quick_deaths, lambda _low, high: high) if soon else 0.0
            self._starts.append((time.monotonic() + delay_s, child.name))

    def _watch(self) -> int:
        """Until the first signal; returns the exit status."""
        ready = False
        while not self._signals:
            try:
                self._start_children()
                if not ready:
                    ready = True
                    self._announce("worker_ready")
                    logger.info("%s ready.", self._plan.hostname)
                    if self._tell_ready is not None:
                        self._tell_ready()
                due = min((moment for moment, _ in self._starts), default=None)
                self._handle_events(None if due is None else max(0.0, due - time.monotonic()))
            except Closed:
                self._template_died()
                return 1
        return 0

    def _template_died(self) -> None:
        """No child can be replaced any more, so this worker ends; whatever runs it starts it again."""
        how = exit_text(self._template.wait())
        logger.critical("The template process ended with %s, and its children with it; this worker ends", how)
        children = list(self._children.values())
        for child in children:
            child.kill()
        for child in children:  # all of them first: one that still lives could take what another one gives back
            child.await_death()
        for child in children:
            self._ended(Ended(child.number, -signal.SIGKILL))

    def _start_children(self) -> None:
        """Those whose time has come."""
        now = time.monotonic()
        for start in [start for start in self._starts if start[0] <= now]:
            self._starts.remove(start)
            self._fork(start[1])

    def _handle_events(self, timeout_s: float | None) -> None:
        """Wait for news, at most so long, and see to it; also to hard time limits that are over."""
        looks = [child.watch.next_look for child in self._children.values() if not child.killed]
        next_look = min((moment for moment in looks if moment is not None), default=None)
        if next_look is not None:
            until_look_s = max(0.0, next_look - time.monotonic())
            timeout_s = until_look_s if timeout_s is None else min(timeout_s, until_look_s)
        by_fd = {child.channel.fileno(): child for child in self._children.values()}
        for fd, _ in self._poll().poll(None if timeout_s is None else timeout_s * 1000 + 1):
            if fd == self._wake_read:
                os.read(self._wake_read, 4096)
            elif fd in by_fd:
                self._listen_to(by_fd[fd])
            else:
                message, _ = self._channel.receive()
                assert isinstance(message, Ended)
                self._ended(message)
        self._end_overdue()

    def _listen_to(self, child: _Child) -> None:
        try:
            word, _ = child.channel.receive()
        except Closed:
            child.silent = True
        else:
            assert word == WATCH
            child.watch.asked()

    def _end_overdue(self) -> None:
        """Kill the children with a run that is past its hard time limit."""
        now = time.monotonic()
        for child in self._children.values():
            next_look = child.watch.next_look
            if child.killed or next_look is None or next_look > now:
                continue
            child.timed_out = child.watch.look()
            if child.timed_out:
                logger.error(
                    "Process %r pid:%d is killed: a task ran longer than its hard time limit of %g s",
                    child.name,
                    child.pid,
                    max(child.timed_out.values()),
                )
                child.kill()

    def _poll(self) -> select.poll:
        """For news from the template and the children, and for signals."""
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        for child in self._children.values():
            if not child.silent:
                poll.register(child.channel.fileno(), select.POLLIN)
        return poll

    # ── stopping ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _catch_signals(self) -> None:
        def note(number: int, _frame: FrameType | None) -> None:
            self._signals += 1
            self._signal_name = signal.Signals(number).name

        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in stop_signals():
            signal.signal(number, note)

    def _stop(self) -> None:
        if self._signals:
            self._announce("worker_shutting_down", sig=self._signal_name, how="Warm", exitcode=0)
        if not self._children:
            return
        grace_s = self._plan.grace_s
        say(f"\nceleriac: stopping; running tasks have {grace_s:g} s to finish, the rest goes back (again: at once)")
        for child in self._children.values():
            try:
                child.channel.send(STOP)
            except Closed:
                pass
        deadline = time.monotonic() + grace_s
        while self._children and self._signals < 2 and time.monotonic() < deadline:
            self._handle_events(max(0.0, deadline - time.monotonic()))
        if self._signals > 1:
            self._announce("worker_shutting_down", sig=self._signal_name, how="Cold", exitcode=0)
        if self._children:
            count = sum(len(child.board.running()) for child in self._children.values())
            if count:
                logger.warning("Stopping %d running %s at once", count, "task" if count == 1 else "tasks")
            for child in self._children.values():
                child.kill()
            while self._children:
                self._handle_events(None)


def _interpreter_flags() -> list[str]:
    """The flags this Python was started with, so that -W error and the like hold in the template too."""
    return subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined,no-any-return]
