"""One run of a task, from its first handler to its outcome.

    before_start → function → on_success  ┐
                            → on_failure  ├→ after_return
                            → on_retry    ┘

Who runs it decides what follows: a worker commits the outcome with all that the run caused (`executor.LeasedRun`), eager
mode returns it (`eager.EagerRun`). Handlers, signals and log lines are the same, in Celery's order.
"""

from __future__ import annotations

import inspect
import logging
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import replace

from celeriac import signals, states
from celeriac.app import Celery
from celeriac.canvas import Signature, maybe_signature
from celeriac.clock import timestamp
from celeriac.crashpoints import reach
from celeriac.documents import Document, describe_exception
from celeriac.engines.base import Ack, Bury, Record, Settle
from celeriac.exceptions import (
    EncodeError,
    Ignore,
    LeaseLost,
    NotRegistered,
    Reject,
    Retry,
    TaskRevokedError,
    Terminated,
)
from celeriac.execution.calls import AsyncCaller, Call, Caller, run_coroutine
from celeriac.execution.failures import ExceptionInfo, format_traceback, safe_repr, safe_text
from celeriac.execution.outcomes import extended
from celeriac.messages import Body
from celeriac.past import Loss
from celeriac.request import Context, current_run
from celeriac.runs import Again, Run
from celeriac.task import Task
from celeriac.task.retrying import autoretry_options, retries_by_itself

__all__ = ["OneRun", "Outcome"]

logger = logging.getLogger("celeriac.worker")


#: Where a plain run finds that there is nothing to find.
_NOTHING_SPECIAL = Context()


class Outcome(msgspec.Struct, frozen=True):
    """How a run ended. `value` is what was returned, or the exception."""

    state: str
    value: Any
    settle: Settle
    record: Record | None = None
    einfo: ExceptionInfo | None = None


class OneRun(ABC):
    """One execution of a task's function."""

    #: Whether its message says nothing beyond what every message says, so that its context is like an empty one.
    plain = False

    def __init__(
        self,
        app: Celery,
        hostname: str,
        task: Task[..., Any],
        task_id: str,
        facts: Context | Callable[[], Context],
        body: Body,
    ) -> None:
        self.app = app
        self.hostname = hostname
        self.task = task
        self.id = task_id
        self.body = body
        self.run = Run(task, facts, self)
        #: The settings, for what is asked of them in every run.
        self.settings = app.conf.values_now
        self._retried = False
        self._began = 0.0

    @property
    def context(self) -> Context:
        """The facts of the run."""
        return self.run.context

    @property
    def _particulars(self) -> Context:
        """The context, for what is special about a run; for a plain one that nobody has asked, none is made."""
        return _NOTHING_SPECIAL if self.plain and not self.run.was_asked else self.run.context

    @property
    def name(self) -> str:
        """For the log."""
        shadow = self._particulars.shadow
        # From a foreign message it may be anything, and so large or deep that to write it raises.
        return f"{shadow if shadow and isinstance(shadow, str) else self.task.name}[{self.id}]"

    def execute(self, caller: Caller) -> Outcome:
        """Call the function, and say how it ended. Raises nothing, whatever the task does."""
        token = current_run.set(self.run)
        try:
            try:
                value = caller.call(self._begin())
            except BaseException as error:  # also SystemExit and CancelledError: a task must not end its worker
                return self._end(self._raised(error))
            return self._end(self._returned(value))
        finally:
            current_run.reset(token)

    async def execute_async(self, caller: AsyncCaller) -> Outcome:
        """As `execute`, for a coroutine of the pool's event loop."""
        token = current_run.set(self.run)
        try:
            try:
                value = await caller.call(self._begin())
            except BaseException as error:
                return self._end(self._raised(error))
            return self._end(self._returned(value))
        finally:
            current_run.reset(token)

    def lost(self, loss: Loss) -> Outcome:
        """How a run ends whose process is gone: what follows a failure follows here, or a retry.

        `task_postrun` is not sent, as Celery does not send it either: there was no `task_prerun` in this process.
        """
        token = current_run.set(self.run)
        try:
            error = loss.error()
            if loss.limit_s is None and self._effective("retry_on_worker_lost", "task_retry_on_worker_lost"):
                try:
                    return self._again(self.task.retry(exc=error, throw=False))
                except Exception as final:
                    if final is not error:
                        logger.exception("Task %s could not be retried after its worker was lost", self.name)
            outcome = self._failed(error)
            self._handle(
                "after_return", states.FAILURE, error, self.id, self.body.args, self.body.kwargs, outcome.einfo
            )
            return replace(outcome, settle=Bury(loss.reason)) if isinstance(outcome.settle, Bury) else outcome
        finally:
            current_run.reset(token)

    # ── for who runs it ──────────────────────────────────────────────────────────────────────────────────────────────

    def progress(self, document: Document) -> None:
        """Store a state before the end."""
        if not self.context.ignore_result:
            record = self._recorded(self._document(document.status, document.result, document.traceback, done=False))
            if record is not None:
                self.store(record)

    @abstractmethod
    def store(self, record: Record) -> None:
        """Store a record before the end."""

    @abstractmethod
    def repeat(self, again: Again) -> None:
        """Have the task run again when this run has ended."""

    @abstractmethod
    def follow(self, signature: Signature[Any], args: Sequence[Any]) -> None:
        """Have another task called when this run has ended."""

    @abstractmethod
    def record(self, document: Document) -> Record | None:
        """The document as it is stored, or None; raises `EncodeError`."""

    @abstractmethod
    def drop_what_follows(self) -> None:
        """Forget what `repeat` and `follow` were told: the run has failed."""

    @abstractmethod
    def give_back(self) -> Settle:
        """Have the message claimed again, marked as redelivered."""

    def send_errback(self, errback: Signature[Any]) -> None:
        """Have an errback called with the id of this run, which has failed."""
        self.follow(errback, (self.id,))

    # ── the beginning ────────────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self) -> Call:
        task = self.task
        args, kwargs = self.body.args, self.body.kwargs
        if signals.task_prerun.receivers:
            signals.task_prerun.send(sender=task, task_id=self.id, task=task, args=args, kwargs=kwargs)
        if self._effective("track_started", "task_track_started"):
            started = {"pid": os.getpid(), "hostname": self.hostname}
            self.progress(Document(self.id, states.STARTED, started))
        task.before_start(self.id, args, kwargs)
        self._began = time.perf_counter()
        reach("called")
        function: Callable[..., Any] = task.run
        if type(task).__call__ is not Task.__call__:
            function = task
        else:
            self.run.entered = True
        if task._models is not None:
            loaded = task._models.loaded(args, kwargs, self.app)
            return Call(function, *loaded, task.is_async, self._token(), *self._limits(self._particulars))
        return Call(function, args, kwargs, task.is_async, self._token(), *self._limits(self._particulars))

    def _token(self) -> int:
        return 0

    def _limits(self, context: Context) -> tuple[float | None, float | None]:
        """Soft and hard, in seconds: the caller's, else the task's, else the application's."""
        task, settings = self.task, self.settings
        soft = context.soft_time_limit or task.soft_time_limit or settings["task_soft_time_limit"]
        hard = context.time_limit or task.time_limit or settings["task_time_limit"]
        return soft, hard

    # ── the outcome ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _returned(self, value: Any) -> Outcome:
        runtime_s = time.perf_counter() - self._began
        reach("returned")
        try:
            if self.task._models is not None:
                value = self.task._models.dumped_result(value)
            particulars = self._particulars
            for callback in particulars.callbacks or ():
                self.follow(maybe_signature(callback, self.app), (value,))
            record = None if particulars.ignore_result else self._success(value)
        except BaseException as error:
            return self._failed(error)
        self._handle("on_success", value, self.id, self.body.args, self.body.kwargs)
        if signals.task_success.receivers:
            signals.task_success.send(sender=self.task, result=value, runtime=runtime_s)
        if logger.isEnabledFor(logging.INFO):
            logger.info("Task %s succeeded in %ss: %.100s", self.name, round(runtime_s, 6), safe_repr(value))
        return Outcome(states.SUCCESS, value, Ack(), record)

    def _raised(self, error: BaseException) -> Outcome:
        if isinstance(error, LeaseLost):
            return self._lost(error)
        if isinstance(error, Terminated):
            return self._terminated(error)
        if self.run.entered and retries_by_itself(self.task, error):
            try:
                error = self.task.retry(exc=error, throw=False, **autoretry_options(self.task, self.run))
            except BaseException as final:
                error = final
        if isinstance(error, Retry) and self._retried:
            return self._again(error)
        if isinstance(error, Ignore):
            logger.info("Task %s ignored", self.name)
            return Outcome(states.IGNORED, error, Ack())
        if isinstance(error, Reject):
            return self._rejected(error)
        return self._failed(error)  # also a Retry raised by hand and not by self.retry(): nothing would run again

    def _lost(self, error: LeaseLost) -> Outcome:
        """No failure of the task's, so no handler is told. Whoever holds the lease says how the task ends, not this run."""
        self.drop_what_follows()
        logger.warning("Task %s is cancelled: %s", self.name, error)
        return Outcome(states.REJECTED, error, Bury(str(error)))

    def _again(self, retry: Retry) -> Outcome:
        reason = retry.exc if retry.exc is not None else retry
        # The exception is Celery's, the text tells what the retry is for.
        einfo = ExceptionInfo(retry, format_traceback(reason))
        trace = einfo.traceback if reason.__traceback__ is not None else None
        logger.info("Task %s retry: %s", self.name, safe_text(retry))
        self._handle("on_retry", reason, self.id, self.body.args, self.body.kwargs, einfo)
        if signals.task_retry.receivers:
            signals.task_retry.send(sender=self.task, request=self.context, reason=retry, einfo=einfo)
        record = None
        if not self.context.ignore_result:
            record = self._recorded(self._document(states.RETRY, self._described(reason), trace, done=False))
        return Outcome(states.RETRY, retry, Ack(), record, einfo)

    def _terminated(self, error: Terminated) -> Outcome:
        logger.warning("Task %s was revoked and its run ended", self.name)
        self.drop_what_follows()
        if signals.task_revoked.receivers:
            signals.task_revoked.send(
                sender=self.task, request=self.context, terminated=True, signum=error.signum, expired=False
            )
        revoked = TaskRevokedError("terminated")
        record = None
        if not self.context.ignore_result:
            record = self._recorded(self._document(states.REVOKED, self._described(revoked), None, done=True))
        return Outcome(states.REVOKED, revoked, Ack(), record)

    def _rejected(self, reject: Reject) -> Outcome:
        self.drop_what_follows()
        if reject.requeue:
            logger.info("Task %s goes back to its queue: %s", self.name, safe_text(reject))
            return Outcome(states.REJECTED, reject, self.give_back())
        logger.warning("Task %s rejected: %s", self.name, safe_text(reject))
        record = None
        if not self.context.ignore_result:  # who waits for it would wait for ever
            record = self._recorded(self._document(states.FAILURE, self._described(reject), None, done=True))
        return Outcome(states.REJECTED, reject, Bury(safe_text(reject)), record)

    def _failed(self, error: BaseException) -> Outcome:
        einfo = ExceptionInfo.of(error)
        trace = einfo.traceback if error.__traceback__ is not None else None
        expected = isinstance(error, tuple(self.task.throws)) if self.task.throws else False
        if expected:
            logger.info("Task %s raised expected: %s", self.name, safe_repr(error))
        else:
            logger.error("Task %s raised unexpected: %s\n%s", self.name, safe_repr(error), einfo.traceback.rstrip())
        self.drop_what_follows()  # a retry or a callback that was asked for by a run that then failed
        record = None
        if not self.context.ignore_result or self._effective(
            "store_errors_even_if_ignored", "task_store_errors_even_if_ignored"
        ):
            record = self._recorded(self._document(states.FAILURE, self._described(error), trace, done=True))
        for errback in self.context.errbacks or ():
            self._call_errback(errback, error, einfo)
        self._handle("on_failure", error, self.id, self.body.args, self.body.kwargs, einfo)
        if signals.task_failure.receivers:
            signals.task_failure.send(
                sender=self.task,
                task_id=self.id,
                exception=error,
                args=self.body.args,
                kwargs=self.body.kwargs,
                traceback=error.__traceback__,
                einfo=einfo,
            )
        settle: Settle = Ack() if expected else Bury(safe_repr(error), einfo.traceback)
        return Outcome(states.FAILURE, error, settle, record, einfo)

    def _call_errback(self, errback: Any, error: BaseException, einfo: ExceptionInfo) -> None:
        """One that takes (request, exc, traceback) is called here; others are sent, with the id of the failed task."""
        try:
            signature = maybe_signature(errback, self.app)
            if _is_called_in_place(signature):
                value = signature(self.context, error, einfo.traceback)
                if inspect.iscoroutine(value):
                    run_coroutine(value)
            else:
                self.send_errback(signature)
        except BaseException:  # an errback is a task's code as well
            logger.exception("The errback %s of task %s raised", safe_repr(errback, 200), self.name)

    def _end(self, outcome: Outcome) -> Outcome:
        value = outcome.value
        if outcome.state in (states.SUCCESS, states.FAILURE):
            self._handle("after_return", outcome.state, value, self.id, self.body.args, self.body.kwargs, outcome.einfo)
        if signals.task_postrun.receivers:
            signals.task_postrun.send(
                sender=self.task,
                task_id=self.id,
                task=self.task,
                args=self.body.args,
                kwargs=self.body.kwargs,
                retval=value,
                state=outcome.state,
            )
        return outcome

    def _handle(self, handler: str, *facts: Any) -> None:
        """The outcome stands, whatever a handler raises."""
        try:
            getattr(self.task, handler)(*facts)
        except BaseException as error:
            logger.exception("%s of task %s raised; the outcome stands", handler, self.name)
            if handler in ("on_failure", "on_retry") and signals.task_internal_error.receivers:
                signals.task_internal_error.send(
                    sender=self.task,
                    task_id=self.id,
                    args=self.body.args,
                    kwargs=self.body.kwargs,
                    request=self.context,
                    exception=error,
                    traceback=error.__traceback__,
                    einfo=ExceptionInfo.of(error),
                )

    # ── documents ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _success(self, value: Any) -> Record | None:
        try:
            return self._recorded(self._document(states.SUCCESS, value, None, done=True))
        except EncodeError as error:
            raise EncodeError(f"the return value of {self.task.name} cannot be stored: {error}") from None

    def _recorded(self, document: Document) -> Record | None:
        try:
            return self.record(document)
        except EncodeError:  # arguments that came by another serializer, for result_extended
            return self.record(replace(document, name=None))

    def _document(self, state: str, result: Any, trace: str | None, *, done: bool) -> Document:
        particulars = self._particulars
        document = Document(
            self.id,
            state,
            result,
            trace,
            self.now() if done else None,
            [[[child.id, None], None] for child in particulars.children],
            particulars.parent_id,
            particulars.group,
        )
        return extended(document, self.context) if self.settings["result_extended"] else document

    def _ttl_s(self, document: Document) -> float | None:
        return self.app.failure_ttl_s if document.status == states.FAILURE else self.app.result_ttl_s

    def _described(self, error: BaseException) -> Any:
        return describe_exception(error, self.app.conf.result_serializer)

    def now(self) -> str:
        """The time, as documents have it."""
        return timestamp(self.app.clock.time())

    def _effective(self, option: str, setting: str) -> bool:
        wanted = getattr(self.task, option)
        return bool(self.settings[setting] if wanted is None else wanted)


def _is_called_in_place(errback: Signature[Any]) -> bool:
    """Whether it takes (request, exc, traceback). Bound tasks and class tasks are sent: they may want to retry."""
    try:
        task = errback.type
    except NotRegistered:
        return False
    if not isinstance(inspect.getattr_static(type(task), "run"), staticmethod):
        return False
    function: Callable[..., Any] = task.run
    if not errback.immutable:
        function = partial(function, *errback.args, **errback.kwargs)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # arguments that do not fit
        parameters = inspect.signature(task.run).parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(positional) > 1 or any(p.kind == p.VAR_POSITIONAL for p in parameters)
