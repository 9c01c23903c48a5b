"""The worker's signals, sent where the application is: in the template, or in the one process of the solo pool.

Up to `celeryd_after_setup` receivers run in the main thread, before anything else happens: a slow one makes a slow start.
Later ones run one after the other in a thread that lives only as long as they do, so that none of them holds up the worker,
and children are forked from a process at rest. What they start in the template (threads, connections) is not in the
children: `worker_process_init` is the place for that.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import Any

import msgspec

from celeriac import signals
from celeriac.app import Celery
from celeriac.exceptions import DecodeError
from celeriac.execution.executor import context_of
from celeriac.loading import load_app
from celeriac.messages import Body, Message, decode_body
from celeriac.worker import logs
from celeriac.worker.logs import MAIN_PROCESS, WorkerLog
from celeriac.worker.names import node_name
from celeriac.worker.plan import Plan, Wishes, make_plan

__all__ = [
    "LAST_WORDS_S",
    "Announce",
    "AnnounceRevoked",
    "Announcer",
    "Worker",
    "process_init",
    "process_shutdown",
    "start",
]

logger = logging.getLogger("celeriac.worker")

#: How long the receivers of `worker_shutdown` may take.
LAST_WORDS_S = 5.0
_BEFORE_FORK_S = 2.0

#: What Celery sends under the worker's name; the rest comes from the worker itself.
_SENT_BY_NAME = ("worker_shutting_down",)


class Announce(msgspec.Struct, frozen=True):
    """Supervisor to template: send this signal."""

    name: str
    facts: dict[str, Any]


class AnnounceRevoked(msgspec.Struct, frozen=True):
    """Supervisor to template: send `task_revoked` for a run that was ended with its process."""

    message: Message
    queue: str
    signum: int


class Worker:
    """What receivers of the worker's signals get as `instance` or as `sender`.

    Which pool it is, its concurrency and its queues are None in `celeryd_init`, which may still change the settings.
    """

    def __init__(self, app: Celery, hostname: str, pid: int) -> None:
        self.app = app
        self.hostname = hostname
        #: The worker's main process, which signals (SIGTERM) go to.
        self.pid = pid
        self.pool: str | None = None
        self.concurrency: int | None = None
        self.queues: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        return f"<Worker {self.hostname} ({self.pool})>"

    def __str__(self) -> str:
        return self.hostname


def start(wishes: Wishes, main_pid: int) -> tuple[Worker, Plan, WorkerLog]:
    """Load the application and send what comes first; raises `CeleriacError`.

    Another process than the main one learns here that the pool is solo; it leaves the signals to that one.
    """
    app = load_app(wishes.app, wishes.config, wishes.settings)
    worker = Worker(app, node_name(wishes.hostname), main_pid)
    if _is_here(wishes.pool or app.conf.worker_pool, main_pid) and signals.celeryd_init.receivers:
        signals.celeryd_init.send(sender=worker.hostname, instance=worker, conf=app.conf, options=_options(wishes))
    plan = make_plan(wishes, app)
    worker.pool, worker.concurrency, worker.queues = plan.pool, plan.concurrency, plan.queues
    log = WorkerLog(plan.log)
    if _is_here(plan.pool, main_pid):
        signals.worker_init.send(sender=worker)
        log.set_up(MAIN_PROCESS)
        if plan.pool == "solo":
            process_init(plan)
        signals.celeryd_after_setup.send(sender=worker.hostname, instance=worker, conf=app.conf)
    return worker, plan, log


def _is_here(pool: str, main_pid: int) -> bool:
    return (pool == "solo") == (os.getpid() == main_pid)


def _options(wishes: Wishes) -> dict[str, Any]:
    """The command line's, by Celery's names."""
    return {
        "loglevel": logging.getLevelNamesMapping()[wishes.loglevel],
        "logfile": wishes.logfile,
        "concurrency": wishes.concurrency,
        "pool_cls": wishes.pool,
        "queues": list(wishes.queues),
        "exclude_queues": list(wishes.excluded_queues),
        "purge": wishes.purge,
    }


def process_init(plan: Plan) -> None:
    """In a process that runs tasks, before its first one."""
    signals.worker_process_init.send(sender=plan.hostname)


def process_shutdown(plan: Plan, exitcode: int) -> None:
    """In a child that is about to end."""
    signals.worker_process_shutdown.send(sender=plan.hostname, pid=os.getpid(), exitcode=exitcode)


class Announcer:
    """Sends signals of a worker that runs, each in a thread after the one before."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._queueing = threading.Lock()
        self._last: threading.Thread | None = None

    def announce(self, name: str, **facts: Any) -> None:
        """Send it soon; returns at once."""
        self._announce(getattr(signals, name), self._worker.hostname if name in _SENT_BY_NAME else self._worker, facts)

    def announce_revoked(self, order: AnnounceRevoked) -> None:
        """Send `task_revoked` soon."""
        app, message = self._worker.app, order.message
        try:
            body = decode_body(message, app.accept)
        except DecodeError:
            body = Body([], {})
        request = context_of(message, body, hostname=self._worker.hostname, queue=order.queue)
        facts = {"request": request, "terminated": True, "signum": order.signum, "expired": False}
        self._announce(signals.task_revoked, app.tasks.get(message.task), facts)

    def _announce(self, signal: signals.Signal, sender: object, facts: dict[str, Any]) -> None:
        if signal.receivers:
            with self._queueing:
                self._last = threading.Thread(
                    target=_send, args=(self._last, signal, sender, facts), name="celeriac-signals", daemon=True
                )
                self._last.start()

    def before_fork(self) -> None:
        """Send `worker_before_create_process`, and wait a little for whatever still runs: it may hold locks."""
        self.announce("worker_before_create_process")
        if not self.wait(_BEFORE_FORK_S):
            logger.warning(
                "A receiver of a worker's signal is still running after %g s; a process is forked beside it, "
                "and should one of its locks be held now, it stays locked there",
                _BEFORE_FORK_S,
            )

    def wait(self, timeout_s: float) -> bool:
        """Whether all receivers have ended by then."""
        last = self._last
        if last is None:
            return True
        last.join(timeout_s)
        return not last.is_alive()


def _send(before: threading.Thread | None, signal: signals.Signal, sender: object, facts: dict[str, Any]) -> None:
    if before is not None:
        before.join()
    signal.send(sender=sender, **facts)
    try:
        sys.stdout.flush()  # what they printed, or every child would print it again
    except OSError as error:
        logs.let_go_of(sys.stdout, error)
