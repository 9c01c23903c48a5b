"""The solo pool: supervisor, courier and slot in one process, for debuggers and stores in memory."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from celeriac.engines.base import Owner
from celeriac.exceptions import LeaseLost
from celeriac.execution.executor import Executor
from celeriac.execution.outcomes import failures
from celeriac.worker.announcing import LAST_WORDS_S, Announcer, Worker, start
from celeriac.worker.banner import banner
from celeriac.worker.board import Board
from celeriac.worker.courier import Courier
from celeriac.worker.leases import DeadChild, LeaseService
from celeriac.worker.limits.limiter import Limiter
from celeriac.worker.logs import WorkerLog
from celeriac.worker.plan import Plan, Wishes
from celeriac.worker.pools.workplace import Workplace, run_slot
from celeriac.worker.processes import leave_forks_to_the_task, stop_signals
from celeriac.worker.revocations import RevocationWatch, Revoke, Terminations
from celeriac.worker.starting import purge_first, register_patiently, say

__all__ = ["run_solo"]

logger = logging.getLogger("celeriac.worker")

_CHILD = 1
_LAST_SETTLING_S = 4.0


def run_solo(wishes: Wishes, ready: Callable[[], None] | None = None) -> int:
    """Work in this process until a signal; returns the exit status. Raises `ConfigError` before the start.

    `ready` is called once, when it takes tasks.
    """
    worker, plan, log = start(wishes, os.getpid())
    app = worker.app
    for setting in ("worker_max_tasks_per_child", "worker_max_memory_per_child"):
        if app.conf[setting] is not None:
            logger.warning("%s has no effect with -P solo, which has no child to replace", setting)
    _Solo(worker, plan, log, ready).run()
    return 0


class _Solo:
    """A task that is running when the signal comes has the grace period to finish; a second signal ends this process.

    No other process could interrupt it, so at the end of the grace period a thread gives it back and ends the process: the
    task must let other threads run until then. For the same reason a task that lets no other thread run for longer than the
    lease loses it, where that is a matter of time (not on SQLite).
    """

    def __init__(self, worker: Worker, plan: Plan, log: WorkerLog, ready: Callable[[], None] | None) -> None:
        self._announcer = Announcer(worker)
        self._log = log
        self._app = app = worker.app
        self._tell_ready = ready
        self._plan = plan
        self._broker, self._results = app.broker, app.results
        self._node_id = plan.node_id
        self._courier = self._new_courier()
        self._leases = LeaseService(plan, self._broker, self._results, on_lost=self._note_lost, living=lambda: [_CHILD])
        self._board = Board.create(slots=1)
        self._limiter = Limiter()
        self._stopped = False
        self._ended = threading.Event()
        #: Held by whoever ends this process: the main thread, or the one for whom the grace period is over.
        self._ending = threading.Lock()

    def run(self) -> None:
        for number in stop_signals():
            signal.signal(number, self._stop)
        leave_forks_to_the_task()
        register_patiently(self._broker, self._plan, lambda: self._stopped)
        if self._stopped:
            self._say_goodbye()
            return
        purge_first(self._broker, self._plan)
        if not self._plan.wishes.quiet:
            say(banner(self._plan, self._broker.describe(), self._results.describe()))
        self._leases.start()
        self._announcer.announce("worker_ready")
        logger.info("%s ready.", self._plan.hostname)
        if self._tell_ready is not None:
            self._tell_ready()
        with self._log.prints(self._plan.redirect_level):
            self._run_tasks()
        self._ended.set()
        self._ending.acquire()  # and keep it: a second ending would cut this one short
        self._leave()
        self._app.close()

    def _run_tasks(self) -> None:
        """Until we are stopped: as one node after the other, if others take over from us."""
        while True:
            courier = self._courier
            # A signal, or the next loss, may have come too early for this courier.
            if self._stopped:
                courier.stop()
            if courier.owner.node != self._node_id:
                courier.abandon()
            executor = Executor(self._app, self._plan.hostname, courier)
            place = Workplace(executor, courier, self._board, limiter=self._limiter, terminations=Terminations())
            revocations = self._watch_revocations(place)
            courier.start()
            run_slot(place)
            courier.join()
            revocations.stop()
            revocations.join()
            if self._stopped or not courier.abandoned:
                return
            self._courier = self._new_courier()

    def _watch_revocations(self, place: Workplace) -> RevocationWatch:
        watch = RevocationWatch(
            self._broker, lambda: self._node_id, lambda lease: place.revoke(Revoke(lease.token, lease.signum))
        )
        watch.start()
        return watch

    def _new_courier(self) -> Courier:
        owner = Owner(self._node_id, _CHILD)
        return Courier(self._broker, self._results, owner, self._plan.queues, failed=failures(self._app))

    def _note_lost(self, new_node_id: str) -> None:
        """In the thread of the leases."""
        self._node_id = new_node_id
        self._courier.abandon()
        self._limiter.interrupt(LeaseLost)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self._stopped = True
        for other in stop_signals():
            signal.signal(other, signal.SIG_DFL)
        # In a thread: the handler interrupts the slot, which may be in the middle of printing, or hold the very lock that
        # a wake-up needs.
        threading.Thread(
            target=self._wind_down, args=(signal.Signals(number).name,), name="celeriac-stop", daemon=True
        ).start()

    def _wind_down(self, sig: str) -> None:
        grace_s = self._plan.grace_s
        self._announcer.announce("worker_shutting_down", sig=sig, how="Warm", exitcode=0)
        self._courier.stop()
        say(f"\nceleriac: stopping; the running task has {grace_s:g} s to finish, the rest goes back (again: at once)")
        if self._ended.wait(grace_s) or not self._ending.acquire(blocking=False):
            return
        logger.warning("Stopping 1 running task at once")
        # Under another token: whatever the task still does, its outcome is refused.
        running = frozenset(self._board.running())
        self._leases.child_died(DeadChild(_CHILD, running, "its worker was stopped", counted=False))
        self._leave()
        os._exit(0)

    def _leave(self) -> None:
        self._leases.stop(_LAST_SETTLING_S)
        self._say_goodbye()

    def _say_goodbye(self) -> None:
        self._announcer.announce("worker_shutdown")
        self._announcer.wait(LAST_WORDS_S)
