"""The supervisor: starts the template and the children, replaces who dies, and stops them in order.

No task code and no application runs in this process, so nothing a task does can keep it from renewing the node's lease.
Children die with it (die_with_parent), so `kill -9` of the supervisor leaves no one working under a dead node's name.

A run that passes its hard time limit is ended with its child, by SIGKILL (deadlines.py); a new child starts at once. A child
that does not get to what it holds has that taken away (leases.py).

When others have taken over from this worker (it was stopped or cut off for longer than its lease), the children cancel what
they run and end, and are replaced by children of the node's new id.

Shutdown: the first SIGTERM or SIGINT lets running tasks finish for at most `worker_shutdown_grace` seconds, while what has
not begun goes back; then, or at a second signal, the children are killed and what they ran goes back uncounted.
"""

from __future__ import annotations

import logging
import os
import queue
import select
import signal
import time
from collections.abc import Callable
from types import FrameType

from celeriac.engines.base import RevokedLease
from celeriac.worker.banner import banner
from celeriac.worker.channel import Closed
from celeriac.worker.child import LOST, STOP, WATCH
from celeriac.worker.children import ChildProcess
from celeriac.worker.leases import DeadChild, HungChild, LeaseService
from celeriac.worker.logs import MAIN_PROCESS, WorkerLog
from celeriac.worker.obituary import obituary
from celeriac.worker.plan import Wishes
from celeriac.worker.processes import exit_text, stop_signals, wake_pipe
from celeriac.worker.revocations import RevocationWatch, Revoke
from celeriac.worker.revoked_runs import CHECK_S, RevokedRun
from celeriac.worker.starting import purge_first, register_patiently, say
from celeriac.worker.starts import Starts
from celeriac.worker.template import Ended
from celeriac.worker.template_process import TemplateProcess
from celeriac.worker.want_of_memory import OomKills

__all__ = ["Supervisor"]

logger = logging.getLogger("celeriac.worker")

#: Together with the grace period, less than the 30 s after which Kubernetes kills.
_LAST_SETTLING_S = 3.5
#: At the end of the grace period, for what has ended and is not committed.
_LAST_COMMITS_S = 1.0
#: A child whose node's id is lost has this long to cancel what it runs.
_CANCELLING_S = 5.0


class Supervisor:
    """A worker with child processes. `run` blocks until it is stopped by a signal, and returns the exit status."""

    def __init__(self, wishes: Wishes, ready: Callable[[], None] | None = None) -> None:
        self._wishes = wishes
        self._tell_ready = ready
        self._children: dict[int, ChildProcess] = {}
        self._next_number = 1
        #: Of those that may hold leases which no report has given away: from before the fork until after the report.
        self._living: set[int] = set()
        self._signals = 0
        #: The last of them.
        self._signal_name = ""
        #: As what our children claim; and as what they should, when others have taken over from that.
        self._node_id = self._new_node_id = ""
        self._oom_kills = OomKills()
        self._wake_read, self._wake_write = wake_pipe()
        self._revoked: queue.SimpleQueue[RevokedLease] = queue.SimpleQueue()

    def run(self) -> int:
        """Raises `ConfigError` when the application or its settings do not allow a start."""
        self._template = TemplateProcess(self._wishes)
        self._catch_signals()
        try:
            self._poll().poll()  # loading the application may take for ever
            if self._signals:
                self._template.kill()
                return 0
            plan = self._plan = self._template.receive_plan()
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
            self._node_id = self._new_node_id = plan.node_id
            self._leases = LeaseService(
                plan, broker, results, on_lost=self._note_lost, living=lambda: set(self._living)
            )
            self._leases.start()
            revocations = RevocationWatch(broker, lambda: self._node_id, self._note_revoked)
            revocations.start()
            self._starts = Starts(plan.children)
            status = self._watch()
            try:
                self._stop()
            except Closed:
                self._template_died()
                status = 1
            revocations.stop()
            self._leases.stop(_LAST_SETTLING_S)
            revocations.join()  # not before: when the store is away each of the two takes some seconds
            results.close()
            broker.close()
            return status
        finally:
            self._template.announce("worker_shutdown")
            self._end_template()

    def _end_template(self) -> None:
        for child in self._children.values():
            child.kill()
        self._template.end()

    # ── children come and go ─────────────────────────────────────────────────────────────────────────────────────────

    def _watch(self) -> int:
        """Until the first signal; returns the exit status."""
        ready = False
        while not self._signals:
            try:
                self._start_children()
                if not ready:
                    ready = True
                    self._template.announce("worker_ready")
                    logger.info("%s ready.", self._plan.hostname)
                    if self._tell_ready is not None:
                        self._tell_ready()
                self._handle_events(self._starts.next_in_s)
            except Closed:
                self._template_died()
                return 1
        return 0

    def _start_children(self) -> None:
        """Those whose time has come."""
        for name in self._starts.due():
            try:
                self._fork(name)
            except OSError as error:
                self._starts.failed(name, error)
            else:
                self._starts.succeeded()

    def _fork(self, name: str) -> None:
        number, self._next_number = self._next_number, self._next_number + 1
        self._living.add(number)
        try:
            child = self._template.fork(number, name, self._plan.slots, self._node_id, self._ended)
        except OSError:
            self._living.discard(number)
            raise
        self._children[number] = child

    def _ended(self, ended: Ended) -> None:
        child = self._children.pop(ended.number)
        stopping = self._signals > 0
        running, retired = frozenset(child.board.running()), child.board.retired and ended.status == 0
        lost = child.node_id != self._node_id  # others have all that it held
        if not lost and (running or not (stopping and ended.status == 0)):
            self._report_death(child, ended, running, retired=retired)
        self._living.discard(child.number)
        child.close()
        if not stopping:
            blameless = bool(running) or retired or lost or child.revoked_run is not None
            self._starts.replace(child.name, child.started, blameless=blameless)

    def _report_death(self, child: ChildProcess, ended: Ended, running: frozenset[int], *, retired: bool) -> None:
        """Have what it held settled, and say how it ended."""
        how, stack = exit_text(ended.status), child.last_words.read()
        if not child.killed and ended.status == -signal.SIGKILL and self._oom_kills.explains_one():
            how += ", killed by the kernel for want of memory"
        if not child.killed and not retired:
            logger.error("Process %r pid:%d ended with %s%s", child.name, child.pid, how, stack and f"\n{stack}")
        told = obituary(self._plan.hostname, child.pid, how, ended.peak_kib, stack)
        revoked = child.revoked_run
        # Killed by us at the end of the grace period, or for another run's sake: an interruption, not the task's doing.
        counted = self._signals == 0 and not child.timed_out and revoked is None
        terminated = frozenset() if revoked is None else frozenset({revoked.lease.token})
        self._leases.child_died(
            DeadChild(
                child.number, running, f"its process ended with {how}", counted, child.timed_out, terminated, told
            )
        )
        if revoked is not None and revoked.cut_short:
            self._template.announce_revoked(revoked)

    def _template_died(self) -> None:
        """No child can be replaced any more, so this worker ends; whatever runs it starts it again."""
        logger.critical(
            "The template process ended with %s, and its children with it; this worker ends", self._template.wait()
        )
        children = list(self._children.values())
        for child in children:
            child.kill()
        for child in children:  # all of them first: one that still lives could take what another one gives back
            child.await_death()
        for child in children:
            self._ended(Ended(child.number, -signal.SIGKILL))

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _handle_events(self, timeout_s: float | None) -> None:
        """Wait for news, at most so long, and see to it; also to what children show on their boards."""
        timeouts_s = [] if timeout_s is None else [timeout_s]
        for child in self._children.values():
            next_look = child.next_look
            if next_look is not None:
                timeouts_s.append(max(0.0, next_look - time.monotonic()))
            if child.revoked_run is not None:
                timeouts_s.append(CHECK_S)
        by_fd = {child.channel.fileno(): child for child in self._children.values()}
        for fd, _ in self._poll().poll(min(timeouts_s) * 1000 + 1 if timeouts_s else None):
            if fd == self._wake_read:
                os.read(self._wake_read, 4096)
            elif fd in by_fd:
                self._listen_to(by_fd[fd])
            else:
                self._ended(self._template.receive_end())
        if self._new_node_id != self._node_id:
            self._disown_children()
        self._look_at_boards()
        self._end_revoked()

    def _poll(self) -> select.poll:
        """For news from the template and the children, and for signals."""
        poll = select.poll()
        poll.register(self._template.fileno(), select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        for child in self._children.values():
            if not child.silent:
                poll.register(child.channel.fileno(), select.POLLIN)
        return poll

    def _listen_to(self, child: ChildProcess) -> None:
        try:
            word, _ = child.channel.receive()
        except Closed:
            child.silent = True
        else:
            assert word == WATCH
            child.watch.asked()

    def _wake(self) -> None:
        """From any thread: have the main thread look at what was noted."""
        try:
            os.write(self._wake_write, b"!")
        except BlockingIOError:
            pass  # it is full of wakes

    def _note_lost(self, new_node_id: str) -> None:
        """In the thread of the leases."""
        self._new_node_id = new_node_id
        self._wake()

    def _disown_children(self) -> None:
        """Have them cancel what others run by now, and end."""
        self._node_id = self._new_node_id
        for child in self._children.values():
            child.kill_at = time.monotonic() + _CANCELLING_S
            child.tell(LOST)

    def _look_at_boards(self) -> None:
        """Kill the children with a run that will not end; have the waiting work of one that hangs taken away."""
        now = time.monotonic()
        for child in self._children.values():
            next_look = child.next_look
            if next_look is None or next_look > now:
                continue
            if child.kill_at is not None and child.kill_at <= now:
                logger.error(
                    "Process %r pid:%d is killed: what it was running cannot be cancelled", child.name, child.pid
                )
                child.kill()
                continue
            hangs_since = child.watch.hangs_since()
            if hangs_since is not None and child.node_id == self._node_id:
                self._leases.child_hangs(HungChild(child.number, child.name, child.board.another(), hangs_since))
            child.timed_out = child.watch.look()
            if child.timed_out:
                logger.error(
                    "Process %r pid:%d is killed: a task ran longer than its hard time limit of %g s",
                    child.name,
                    child.pid,
                    max(child.timed_out.values()),
                )
                child.last_words.ask(child.pid)
                child.kill()

    # ── revoked runs ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _note_revoked(self, lease: RevokedLease) -> None:
        """From the thread that looks for them."""
        self._revoked.put(lease)
        self._wake()

    def _end_revoked(self) -> None:
        """Have children not begin what was revoked, and end the runs that are to be ended."""
        for child in self._children.values():
            if child.revoked_run is not None:
                child.revoked_run.look()
        while not self._revoked.empty():
            lease = self._revoked.get()
            found = self._children.get(lease.child)
            if found is not None and not found.killed:
                self._revoke(found, lease)

    def _revoke(self, child: ChildProcess, lease: RevokedLease) -> None:
        if lease.signal is None or self._plan.slots_share_process or lease.token not in child.board.running():
            child.tell(Revoke(lease.token, lease.signum))
            return
        run = RevokedRun(child.board, child.pid, lease)
        if child.end_revoked(run):
            logger.warning(
                "Process %r pid:%d is ended by %s: the task it runs was revoked", child.name, child.pid, run.signal.name
            )

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
            self._template.announce("worker_shutting_down", sig=self._signal_name, how="Warm", exitcode=0)
        if not self._children:
            return
        grace_s = self._plan.grace_s
        say(f"\nceleriac: stopping; running tasks have {grace_s:g} s to finish, the rest goes back (again: at once)")
        for child in self._children.values():
            child.tell(STOP)
        deadline = time.monotonic() + grace_s
        while self._children and self._signals < 2 and time.monotonic() < deadline:
            self._handle_events(max(0.0, deadline - time.monotonic()))
        if self._signals > 1:
            self._template.announce("worker_shutting_down", sig=self._signal_name, how="Cold", exitcode=0)
        busy = [child for child in self._children.values() if child.board.running()]
        if busy:
            count = sum(len(child.board.running()) for child in busy)
            logger.warning("Stopping %d running %s at once", count, "task" if count == 1 else "tasks")
            for child in busy:
                child.kill()
        # The others commit what has ended: killed now, it would run again.
        deadline = time.monotonic() + _LAST_COMMITS_S
        while self._children and time.monotonic() < deadline:
            self._handle_events(max(0.0, deadline - time.monotonic()))
        for child in self._children.values():
            child.kill()
        while self._children:
            self._handle_events(None)
