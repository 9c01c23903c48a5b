"""Running one task: from a lease to a `Commit` that says everything the run caused.

No store is touched here but through the commit, so a run's effects are applied together (or, if the process dies first,
not at all). Eager mode, tests and workers use the same executor.
"""

from __future__ import annotations

import logging
import os
import time
import traceback
from datetime import timedelta
from typing import Any, Protocol

from celeriac import states
from celeriac.app import Celery
from celeriac.clock import utc
from celeriac.documents import Document, describe_exception
from celeriac.engines.base import Ack, Bury, Commit, Keep, Lease, Record, Requeue, Settle
from celeriac.exceptions import DecodeError, EncodeError, NotRegistered, Retry, TaskRevokedError, WorkerLostError
from celeriac.execution.calls import AsyncCaller, Call, Caller
from celeriac.execution.outcomes import failure_record
from celeriac.messages import Body, Malformed, Message, Outgoing, decode_body
from celeriac.request import Context, Run, current_run
from celeriac.task import Task

__all__ = ["Executor", "Keeper"]

logger = logging.getLogger("celeriac.worker")

#: Since when (seconds since 1970) no worker that took the message knew the task. Foreign workers ignore the header.
UNKNOWN_SINCE = "celeriac_unknown_since"
_UNKNOWN_PAUSE_S = 5.0
#: What stands above a task's own frames in a traceback.
_NOT_THE_TASKS = (
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep,
    os.path.join(os.path.dirname(os.__file__), "asyncio") + os.sep,
)


class Keeper(Protocol):
    """Who holds the lease while the executor runs it (the courier)."""

    def begin(self, lease: Lease) -> bool:
        """Mark an at-most-once run as begun, for ever; False if the lease is lost."""

    def report(self, commit: Commit) -> None:
        """Store a document soon, under the lease."""


class Executor:
    """Runs the tasks of an application. Thread-safe: all slots of a process share one."""

    def __init__(self, app: Celery, hostname: str, keeper: Keeper) -> None:
        self._app = app
        self._hostname = hostname
        self._keeper = keeper
        self._missed: set[str] = set()

    def execute(self, lease: Lease, caller: Caller) -> Commit:
        """Run it, and say how it ended. Raises nothing, whatever the task does."""
        run = self.prepare(lease)
        return run if isinstance(run, Commit) else run.execute(caller)

    async def execute_async(self, lease: Lease, caller: AsyncCaller) -> Commit:
        """As `execute`, for the coroutines of one event loop. What may block on the store runs in a thread."""
        import asyncio

        run = await asyncio.to_thread(self.prepare, lease) if self._may_block(lease) else self.prepare(lease)
        return run if isinstance(run, Commit) else await run.execute_async(caller)

    def prepare(self, lease: Lease) -> OneRun | Commit:
        """The run of a lease, or at once the commit where there is nothing to run. Marks an at-most-once run as begun."""
        message = lease.message
        if isinstance(message, Malformed):
            logger.error("Buried a message of queue %s that cannot be read: %s", lease.queue, message.reason)
            return self._buried(lease, message.reason, DecodeError(message.reason))
        now = self._app.clock.time()
        if message.expires is not None and message.expires.timestamp() <= now:
            return self._expired(lease, message)
        if message.eta is not None and message.eta.timestamp() > now:
            # From a producer that left the waiting to the worker: it waits in the store instead.
            return Commit(lease.token, Requeue(message.eta.timestamp() - now))
        task = self._app.tasks.get(message.task)
        if task is None:
            return self._unknown(lease, message, now)
        try:
            body = decode_body(message, self._app.accept)
            _refuse_workflows(body)
        except DecodeError as error:
            logger.error("Buried task %s[%s]: %s", message.task, message.id, error)
            return self._buried(lease, str(error), error)
        if message.headers.get("ignore_result") is None and self._ignores_result(task):
            message = message.with_headers(ignore_result=True)  # its producer, who knows only the name, left that to us
        if lease.begun or not self._may_begin(lease, task):
            reason = "an earlier worker had begun this at-most-once run (acks_late=False) and did not end it"
            return self._buried(lease, reason, WorkerLostError(reason))
        return OneRun(self, lease, message, task, body)

    def _may_begin(self, lease: Lease, task: Task[..., Any]) -> bool:
        return self._at_least_once(task) or self._keeper.begin(lease)

    def _may_block(self, lease: Lease) -> bool:
        task = None if isinstance(lease.message, Malformed) else self._app.tasks.get(lease.message.task)
        return task is not None and not self._at_least_once(task)

    def _at_least_once(self, task: Task[..., Any]) -> bool:
        return bool(self._app.conf.task_acks_late if task.acks_late is None else task.acks_late)

    def _ignores_result(self, task: Task[..., Any]) -> bool:
        return bool(self._app.conf.task_ignore_result if task.ignore_result is None else task.ignore_result)

    def _buried(self, lease: Lease, reason: str, error: BaseException) -> Commit:
        record = failure_record(lease.message, lease.token, error, self._app.result_ttl_s, self._now())
        return Commit(lease.token, Bury(reason), record)

    def _expired(self, lease: Lease, message: Message) -> Commit:
        logger.info("Discarding revoked task: %s[%s] (expired at %s)", message.task, message.id, message.expires)
        document = Document(
            message.id, states.REVOKED, describe_exception(TaskRevokedError("expired")), date_done=self._now()
        )
        return Commit(lease.token, Ack(), self._record(lease, message, document))

    def _unknown(self, lease: Lease, message: Message, now: float) -> Commit:
        """In a rolling deploy the worker that knows the task may be seconds away, so it waits before it is buried."""
        since = message.headers.get(UNKNOWN_SINCE)
        since = since if isinstance(since, (int, float)) else now
        wait_s = self._app.conf.unknown_task_wait
        if now - since >= wait_s:
            reason = f"no worker of queue {lease.queue} has had a task {message.task!r} for {timedelta(seconds=wait_s)}"
            logger.error("Buried task %s[%s]: %s", message.task, message.id, reason)
            return self._buried(lease, reason, NotRegistered(message.task))
        if message.task not in self._missed:
            self._missed.add(message.task)
            logger.error(
                "Received a task that is not registered here: %r. It waits up to %s for a worker that has it. "
                "Does this worker import the module that defines it?",
                message.task,
                timedelta(seconds=wait_s),
            )
        later = now + min(_UNKNOWN_PAUSE_S, since + wait_s - now)
        again = Outgoing(message.with_headers(**{UNKNOWN_SINCE: since}), lease.queue, later)
        return Commit(lease.token, Ack(), messages=(again,))

    def _record(self, lease: Lease, message: Message, document: Document) -> Record | None:
        if message.headers.get("ignore_result"):
            return None
        return Record(message.id, document.encode(), self._app.result_ttl_s, lease.token)

    def _now(self) -> str:
        return utc(self._app.clock.time()).isoformat()


class OneRun:
    """One execution of a task's function, and how it ended."""

    def __init__(self, executor: Executor, lease: Lease, message: Message, task: Task[..., Any], body: Body) -> None:
        self._executor = executor
        self._lease = lease
        self._message = message
        self._task = task
        self._body = body
        self._name = f"{message.task}[{message.id}]"
        self._run = Run(task.name, _context(executor._hostname, lease, message, body), message, lease.queue, self)

    def execute(self, caller: Caller) -> Commit:
        """Call the function, and say how it ended."""
        call = self._begin()
        token = current_run.set(self._run)
        try:
            value = caller.call(call)
        except BaseException as error:  # also SystemExit and CancelledError: a task must not end its worker
            return self._raised(error)
        finally:
            current_run.reset(token)
        return self._succeeded(value)

    async def execute_async(self, caller: AsyncCaller) -> Commit:
        """As `execute`, for a coroutine of the pool's event loop."""
        call = self._begin()
        token = current_run.set(self._run)
        try:
            value = await caller.call(call)
        except BaseException as error:
            return self._raised(error)
        finally:
            current_run.reset(token)
        return self._succeeded(value)

    def _begin(self) -> Call:
        logger.info("Task %s received", self._name)
        if self._track_started():
            self.progress(
                Document(self._message.id, states.STARTED, {"pid": os.getpid(), "hostname": self._executor._hostname})
            )
        self._began = time.perf_counter()
        return Call(self._task.run, self._body.args, self._body.kwargs, self._task.is_async, self._lease.token)

    def progress(self, document: Document) -> None:
        record = self._executor._record(self._lease, self._message, document)
        if record is not None:
            self._executor._keeper.report(Commit(self._lease.token, Keep(), record))

    def _track_started(self) -> bool:
        wanted = self._task.track_started
        return bool(self._executor._app.conf.task_track_started if wanted is None else wanted)

    def _raised(self, error: BaseException) -> Commit:
        return self._retried(error) if isinstance(error, Retry) else self._failed(error)

    def _succeeded(self, value: Any) -> Commit:
        runtime_s = time.perf_counter() - self._began
        try:
            record = self._record(states.SUCCESS, value)
        except EncodeError as error:
            return self._failed(EncodeError(f"the return value of {self._task.name} cannot be stored: {error}"))
        if logger.isEnabledFor(logging.INFO):
            logger.info("Task %s succeeded in %ss: %.100s", self._name, round(runtime_s, 6), _repr(value))
        return self._commit(Ack(), record)

    def _retried(self, retry: Retry) -> Commit:
        if not self._run.publish:
            return self._failed(retry)  # raised by hand, not by self.retry(): nothing would run again
        reason = retry.exc if retry.exc is not None else retry
        trace = _format(reason) if reason.__traceback__ is not None else None
        logger.info("Task %s retry: %s", self._name, retry)
        return self._commit(Ack(), self._record(states.RETRY, describe_exception(reason), trace, done=False))

    def _failed(self, error: BaseException) -> Commit:
        trace = _format(error)
        expected = isinstance(error, self._task.throws) if self._task.throws else False
        if expected:
            logger.info("Task %s raised expected: %r", self._name, error)
        else:
            logger.error("Task %s raised unexpected: %r\n%s", self._name, error, trace.rstrip())
        settle: Settle = Ack() if expected else Bury(_repr(error), trace)
        record = None
        if self._wants_errors():
            record = self._always_record(
                Document(
                    self._message.id,
                    states.FAILURE,
                    describe_exception(error),
                    trace,
                    self._executor._now(),
                    self._children(),
                    self._run.context.parent_id,
                )
            )
        self._run.publish.clear()  # a retry that was asked for by a run that then failed
        return self._commit(settle, record)

    def _wants_errors(self) -> bool:
        if not self._message.headers.get("ignore_result"):
            return True
        wanted = self._task.store_errors_even_if_ignored
        return bool(self._executor._app.conf.task_store_errors_even_if_ignored if wanted is None else wanted)

    def _record(self, status: str, result: Any, trace: str | None = None, *, done: bool = True) -> Record | None:
        if self._message.headers.get("ignore_result"):
            return None
        return self._always_record(
            Document(
                self._message.id,
                status,
                result,
                trace,
                self._executor._now() if done else None,
                self._children(),
                self._run.context.parent_id,
            )
        )

    def _always_record(self, document: Document) -> Record:
        return Record(document.task_id, document.encode(), self._executor._app.result_ttl_s, self._lease.token)

    def _children(self) -> list[Any]:
        return [[[child.id, None], None] for child in self._run.context.children]

    def _commit(self, settle: Settle, record: Record | None) -> Commit:
        return Commit(self._lease.token, settle, record, tuple(self._run.publish))


def _refuse_workflows(body: Body) -> None:
    """Running the task and dropping what should follow it would lose that without a word."""
    follow = [name for name, value in body.embed.items() if value]
    if follow:
        raise DecodeError(
            f"the message has {', '.join(follow)}, which this version of celeriac cannot go on with; "
            "a Celery worker can: keep workflows on a queue of their own, or send it without"
        )


def _context(hostname: str, lease: Lease, message: Message, body: Body) -> Context:
    headers = message.headers
    return Context(
        id=message.id,
        args=body.args,
        kwargs=body.kwargs,
        retries=message.retries,
        root_id=headers.get("root_id") or message.id,
        parent_id=headers.get("parent_id"),
        eta=headers.get("eta"),
        expires=headers.get("expires"),
        origin=headers.get("origin"),
        hostname=hostname,
        reply_to=message.properties.get("reply_to"),
        correlation_id=message.id,
        ignore_result=bool(headers.get("ignore_result")),
        called_directly=False,
        delivery_info={
            "exchange": "",
            "routing_key": lease.queue,
            "priority": message.priority,
            # The header is Celery's, of a message that one of its workers had taken and has given back.
            "redelivered": lease.deliveries > 1 or headers.get("redelivered") is True,
        },
        headers=dict(headers),
    )


def _format(error: BaseException) -> str:
    """The traceback as text, from the task's own first frame on."""
    trace = error.__traceback__
    while (
        trace is not None and trace.tb_frame.f_code.co_filename.startswith(_NOT_THE_TASKS) and trace.tb_next is not None
    ):
        trace = trace.tb_next
    text = "".join(traceback.format_exception(type(error), error, trace))
    # Half characters, as in undecodable file names, could be written to no log file.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception as error:  # the task's own __repr__, which must not end the worker
        return f"<{type(value).__qualname__}, whose repr raises {type(error).__name__}>"
