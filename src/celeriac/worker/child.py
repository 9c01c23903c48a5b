"""A child: one courier and the slots of its pool. It is forked from the template and ends when the supervisor says so."""

from __future__ import annotations

import logging
import os
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING

from celeriac.app import Celery
from celeriac.crashpoints import reach
from celeriac.engines.base import Owner
from celeriac.exceptions import LeaseLost, Terminated
from celeriac.execution.executor import Executor
from celeriac.execution.outcomes import failures
from celeriac.worker.announcing import process_init, process_shutdown
from celeriac.worker.board import Board
from celeriac.worker.callers import end_call
from celeriac.worker.channel import Channel, Closed
from celeriac.worker.courier import Courier
from celeriac.worker.last_words import leave_last_words
from celeriac.worker.limits.hard import HardLimits
from celeriac.worker.logs import WorkerLog
from celeriac.worker.memory import MemoryLimit
from celeriac.worker.plan import Plan
from celeriac.worker.pools.threads import run_threads
from celeriac.worker.pools.workplace import Workplace, run_slot
from celeriac.worker.processes import die_with_parent, leave_forks_to_the_task, leave_signals_to_the_supervisor
from celeriac.worker.pulse import BoardPulse
from celeriac.worker.revocations import Revoke, Terminations
from celeriac.worker.sizes import SAY_EVERY_S, say_sizes, sizes

if TYPE_CHECKING:
    from celeriac.worker.pools.event_loop import EventLoop

__all__ = ["LOST", "STOP", "WATCH", "run_child"]

#: From the supervisor: claim no more, finish, end.
STOP = "stop"
#: From the supervisor: others have taken over what this node held; cancel it, and end.
LOST = "lost"
#: To the supervisor: there is something on the board to keep an eye on.
WATCH = "watch"

#: When all is settled, what tasks have left on their event loops has this long to end.
_SWITCH_S = 0.001
_LEFT_BEHIND_S = 5.0

logger = logging.getLogger("celeriac.worker")


def run_child(
    app: Celery,
    plan: Plan,
    log: WorkerLog,
    number: int,
    name: str,
    channel: Channel,
    board: Board,
    last_words: int,
    parent: int,
) -> None:
    """Work until told to stop, and return when everything is settled. For a freshly forked process."""
    die_with_parent(parent)

    def end_doomed_run(number: int, frame: FrameType | None) -> None:
        if board.doomed:
            end_call(Terminated(number), frame)

    reach("begun")
    leave_signals_to_the_supervisor(end_doomed_run)
    leave_forks_to_the_task()
    leave_last_words(last_words)
    log.name_process(name)
    with log.prints(plan.redirect_level):
        exitcode = 1
        app.on_after_fork.send(sender=app)
        try:
            _Child(app, plan, number, channel, board).run()
            exitcode = 0
        finally:
            process_shutdown(plan, exitcode)
    app.close()


class _Child:
    def __init__(self, app: Celery, plan: Plan, number: int, channel: Channel, board: Board) -> None:
        self._app = app
        self._plan = plan
        self._channel = channel
        self._board = board
        self._stopping = False
        self._slots_ended = threading.Event()
        self._asking = threading.Lock()
        self._event_loop = _event_loop(plan)
        self._courier = Courier(
            app.broker,
            app.results,
            Owner(plan.node_id, number),
            plan.queues,
            slots=plan.slots,
            allowance=plan.most_runs,
            last_delivery=plan.max_deliveries,
            on_delivery=self._event_loop.wake if self._event_loop is not None else None,
            pulse=BoardPulse(board, self._ask_to_watch),
            failed=failures(app),
        )
        self._place = Workplace(
            Executor(app, plan.hostname, self._courier),
            self._courier,
            board,
            HardLimits(board, self._ask_to_watch),
            MemoryLimit(plan.most_memory_kib, self._retire) if plan.most_memory_kib is not None else None,
            terminations=Terminations() if plan.slots_share_process else None,
        )

    def run(self) -> None:
        """Start, run tasks, settle."""
        # A slot that computes keeps the courier waiting so long each time it comes back from the store.
        sys.setswitchinterval(_SWITCH_S)
        threading.Thread(target=self._obey, name="celeriac-control", daemon=True).start()
        process_init(self._plan)
        self._courier.start()
        threading.Thread(target=self._end_at_the_latest, name="celeriac-end", daemon=True).start()
        self._run_slots()
        self._slots_ended.set()
        if not self._courier.abandoned:  # or there is nothing to wait for, and the store may be away
            self._courier.join()
            self._retire_if_spent()

    def _end_at_the_latest(self) -> None:
        """Closing an event loop waits for what is left on it: for ever, if that refuses to be cancelled."""
        while not self._courier.join(SAY_EVERY_S):
            say_sizes(sizes(self._app, self._place))
        if not self._courier.abandoned and not self._slots_ended.wait(_LEFT_BEHIND_S):
            self._retire_if_spent()
            logger.warning(
                "A task has left a coroutine or a thread of its event loop behind that does not end; "
                "it is cut off, as all tasks of this process have ended"
            )
            process_shutdown(self._plan, 0)
            os._exit(0)

    def _retire_if_spent(self) -> None:
        if self._courier.spent and not self._stopping:
            self._retire(f"it has run {self._plan.most_runs} tasks (worker_max_tasks_per_child)")

    def _run_slots(self) -> None:
        if self._event_loop is not None:
            self._event_loop.run(self._place)
        elif self._plan.pool == "threads":
            run_threads(self._place, self._plan.slots)
        else:
            run_slot(self._place)

    def _obey(self) -> None:
        try:
            while True:
                word, _ = self._channel.receive()
                if word == STOP:
                    self._stopping = True
                    self._courier.stop()
                elif word == LOST:
                    self._abandon()
                elif isinstance(word, Revoke):
                    self._place.revoke(word)
        except Closed:
            # The supervisor died, so nobody renews our lease: what we run is about to be someone else's.
            os._exit(1)

    def _abandon(self) -> None:
        """Interrupt what runs. Where nothing reaches it, the supervisor kills this process after a while."""
        self._courier.abandon()
        self._place.limiter.interrupt(LeaseLost)
        if self._event_loop is not None:
            self._event_loop.interrupt()

    def _ask_to_watch(self) -> None:
        with self._asking:
            # Never twice without being heard: nothing may block here when the supervisor has been stopped.
            if not self._board.ask():
                return
            try:
                self._channel.send(WATCH)
            except Closed:
                pass  # the supervisor died, and we are about to

    def _retire(self, why: str) -> None:
        """End when the running tasks have; the supervisor starts another."""
        if not self._board.retired:
            self._board.retire()
            logger.info("This process is replaced: %s", why)
            self._courier.stop()


def _event_loop(plan: Plan) -> EventLoop | None:
    if plan.pool != "asyncio":
        return None
    from celeriac.worker.pools.event_loop import EventLoop  # with asyncio, which the other pools do without

    return EventLoop(plan.slots)
