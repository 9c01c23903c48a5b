"""`Task`: a registered function, how it is called, and what it may do while it runs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, Unpack, cast, overload

from celeriac import exceptions, states
from celeriac.clock import utc
from celeriac.exceptions import Ignore, MaxRetriesExceededError, Retry
from celeriac.request import Context, current_run, running
from celeriac.task.handlers import Handlers
from celeriac.typevars import P, R

if TYPE_CHECKING:
    from celeriac.app import Celery
    from celeriac.calling import CallKeywords
    from celeriac.canvas import Signature
    from celeriac.engines.base import ResultStore
    from celeriac.result import AsyncResult, EagerResult
    from celeriac.runs import Run
    from celeriac.task.arguments import Models, Parameters

__all__ = ["Task"]


class Task(Handlers, Generic[P, R]):
    """A registered function. Calling it runs it here; `delay` and `apply_async` have a worker run it.

    `@app.task` makes one of a function. A class of one's own derives from `Task`, has a method `run`, and is registered
    with `app.register_task`; or it has handlers and options only, and is given to `@app.task(base=...)`. One object serves
    all runs of a process, so state belongs into arguments and results, not into attributes.

    The attributes below are the options, with Celery's names and defaults; None means the application's setting.
    """

    MaxRetriesExceededError = exceptions.MaxRetriesExceededError
    OperationalError = exceptions.OperationalError

    name: str = ""
    typing: bool | None = None
    max_retries: int | None = 3
    default_retry_delay: float = 180
    autoretry_for: tuple[type[BaseException], ...] = ()
    dont_autoretry_for: tuple[type[BaseException], ...] = ()
    retry_kwargs: Mapping[str, Any] = {}
    retry_backoff: bool | float = False
    retry_backoff_max: float = 600
    retry_jitter: bool = True
    throws: tuple[type[BaseException], ...] = ()
    ignore_result: bool | None = None
    store_errors_even_if_ignored: bool | None = None
    store_eager_result: bool | None = None
    track_started: bool | None = None
    trail: bool = True
    resultrepr_maxsize: int = 1024
    acks_late: bool | None = None
    acks_on_failure_or_timeout: bool | None = None
    acks_on_timeout: bool | None = None
    reject_on_worker_lost: bool | None = None
    retry_on_worker_lost: bool | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    queue: Any = None
    exchange: Any = None
    routing_key: str | None = None
    priority: int | None = None
    expires: float | datetime | timedelta | str | None = None
    serializer: str | None = None
    compression: str | None = None
    delivery_mode: Any = None
    pydantic: bool = False
    pydantic_strict: bool = False
    pydantic_context: Mapping[str, Any] | None = None
    pydantic_dump_kwargs: Mapping[str, Any] | None = None
    abstract: bool = False

    _app: ClassVar[Celery | None] = None
    __name__: str
    __wrapped__: Any = None

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """The body of a class task."""
        raise NotImplementedError(f"task {self.name or type(self).__name__} has no method run")

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now, in this process."""
        run = current_run.get()
        if run is not None and run.task is self and not run.entered:
            run.entered = True  # the worker's own call, through a __call__ of the task's class
            return cast(R, self.run(*args, **kwargs))
        from celeriac.runs import Run

        direct = Context(args=list(args), kwargs=kwargs)
        token = current_run.set(Run(self, direct, None, entered=True, outer=run))
        try:
            if self._models is None:
                return cast(R, self.run(*args, **kwargs))
            loaded, named = self._models.loaded(list(args), kwargs, self.app)
            return cast(R, self._models.dumped_result(self.run(*loaded, **named)))
        finally:
            current_run.reset(token)

    @property
    def app(self) -> Celery:
        """The application the task belongs to."""
        if self._app is None:
            from celeriac.app.current import current_app

            return cast("Celery", current_app._get_current_object())
        return self._app

    # ── calling ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Have a worker call the task with these arguments.

        Returns as soon as the broker has the message. Raises `TypeError` when the arguments do not fit the function,
        `EncodeError` when one cannot be sent, `OperationalError` when the broker cannot be reached in time.
        """
        return self.apply_async(args, kwargs)

    def apply_async(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        **options: Unpack[CallKeywords],
    ) -> AsyncResult[R]:
        """As `delay`, with options: not before `eta` or `countdown` seconds from now; not at all after `expires`.

        `link` and `link_error` are signatures to call with the result, and after a failure. `retry` and `retry_policy` say
        how often a publish is repeated when the broker is away. A naive datetime is in the application's time zone.
        Options of one's own become properties of the message. `producer` and `connection` have no use here.
        """
        from celeriac.task import sending

        given = sending.all_options(options, task_id=task_id, link=link, link_error=link_error, shadow=shadow)
        return sending.send(self, args, kwargs, given)

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """As `delay`, for coroutines: the event loop goes on meanwhile, and calls at the same time share a round trip.

        One that is cancelled may have been sent all the same.
        """
        from celeriac.task import sending

        return await sending.send_async(self, args, kwargs)

    def delay_many(
        self, calls: Iterable[Sequence[Any] | Mapping[str, Any]], **options: Unpack[CallKeywords]
    ) -> list[AsyncResult[R]]:
        """Call the task many times at the cost of a few: `add.delay_many([(1, 2), (3, 4)])`.

        Each call is a sequence of positional arguments or a dictionary of keyword arguments; the options are those of
        `apply_async`, for all calls. All arguments are checked before the first message is sent. Messages leave by the
        thousand, the next while the store takes in those before; when that fails, what was before it has been sent.
        """
        from celeriac.task import sending

        return sending.send_many(self, calls, {**options})

    def apply(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        link: Any = None,
        link_error: Any = None,
        task_id: str | None = None,
        retries: int | None = None,
        throw: bool | None = None,
        **options: Any,
    ) -> EagerResult[R]:
        """Run the task here and now, with all that a worker does around it, and return its result.

        Retries follow at once, without their delay, and time limits are not enforced. `throw` (by default the setting
        `task_eager_propagates`) raises the task's exception, or `Retry` when it asks for one. Arguments are passed as
        they are; nothing is stored unless `task_store_eager_result` is set. A coroutine function runs on an event loop of
        its own, inside of a running one in a thread of its own.
        """
        from celeriac.execution.eager import apply

        return apply(
            self, list(args or ()), dict(kwargs or {}), throw, link=link, link_error=link_error, task_id=task_id,
            retries=retries or 0, **options,
        )  # fmt: skip

    @property
    def checks_arguments(self) -> bool:
        """Whether calls are checked against the function's parameters before they are sent."""
        return self.app.strict_typing if self.typing is None else self.typing

    @property
    def ignores_result(self) -> bool:
        """Whether results are dropped, by the task's option or the application's setting."""
        return bool(self.app.conf["task_ignore_result"] if self.ignore_result is None else self.ignore_result)

    @cached_property
    def is_async(self) -> bool:
        """Whether `run` is a coroutine function."""
        from inspect import iscoroutinefunction

        return iscoroutinefunction(self.run)

    @cached_property
    def _parameters(self) -> Parameters:
        from celeriac.task.arguments import Parameters

        return Parameters(self.name, self.run)

    @cached_property
    def _models(self) -> Models | None:
        if not self.pydantic:
            return None
        from celeriac.task.arguments import Models

        return Models(
            self.run,
            self.name,
            strict=self.pydantic_strict,
            context=self.pydantic_context,
            dump_kwargs=self.pydantic_dump_kwargs,
        )

    def shadow_name(self, args: list[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> str | None:
        """Another name for logs and monitors, for a class to define; None keeps the task's own."""
        return None

    # ── signatures ───────────────────────────────────────────────────────────────────────────────────────────────────

    @overload
    def s(self, *args: P.args, **kwargs: P.kwargs) -> Signature[R]: ...

    @overload
    def s(self, *args: Any, **kwargs: Any) -> Signature[Any]: ...

    def s(self, *args: Any, **kwargs: Any) -> Signature[Any]:
        """A call to be made later, here or elsewhere: `add.s(2, 2).delay()`. Arguments may be left to whoever calls it."""
        return self.signature(args, kwargs)

    @overload
    def si(self, *args: P.args, **kwargs: P.kwargs) -> Signature[R]: ...

    @overload
    def si(self, *args: Any, **kwargs: Any) -> Signature[Any]: ...

    def si(self, *args: Any, **kwargs: Any) -> Signature[Any]:
        """As `s`, immutable: as a callback it is called with these arguments alone, without the result before them."""
        return self.signature(args, kwargs, immutable=True)

    def signature(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Signature[R]:
        """A signature with options: `add.signature((2, 2), countdown=10)`."""
        from celeriac.canvas import Signature

        return Signature(self, args, kwargs, options, app=self.app, **more)

    subtask = signature

    def AsyncResult(  # noqa: N802  # Celery's name
        self, task_id: str, backend: ResultStore | None = None, parent: AsyncResult[Any] | None = None
    ) -> AsyncResult[R]:
        """The result of an earlier call, by its id."""
        from celeriac.result import AsyncResult

        return AsyncResult(task_id, backend, self.name, self.app, parent)

    # ── within a run ─────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def request(self) -> Context:
        """The facts of the present run; defaults when the function was called directly."""
        run = current_run.get()
        return run.context if run is not None and run.task is self else Context()

    def update_state(
        self, task_id: str | None = None, state: str | None = None, meta: Any = None, **_unused: Any
    ) -> None:
        """Store a state of one's own (progress) while the task runs; `AsyncResult.info` is then `meta`.

        A run that has lost its lease stores nothing. Raises `EncodeError` when `meta` cannot be written.
        """
        run = running()
        task_id = task_id or (run.context.id if run is not None else None)
        if task_id is None:
            raise ValueError("update_state outside of a running task needs a task_id")
        from celeriac.documents import Document
        from celeriac.engines.base import Record

        document = Document(task_id, state or states.STARTED, meta)
        if run is not None and run.reporter is not None and task_id == run.context.id:
            run.reporter.progress(document)
        else:
            app = self.app
            app.results.store([Record(task_id, app.encode_document(document), app.result_ttl_s)])

    def retry(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: datetime | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> Retry:
        """End this run and have the task run again: `raise self.retry(exc=exc, countdown=10)`.

        The new message and the end of this run are stored together. After `max_retries` (of the task, unless given here)
        raises `exc`, or `MaxRetriesExceededError` if there is none. With `throw=False` it returns instead of raising, and
        the run may still return a value. Further options are those of `apply_async`.
        """
        from celeriac.calling import check_keywords, moments
        from celeriac.runs import Again
        from celeriac.task.arguments import retried_arguments

        run = self._own_run()
        if run is None or run.reporter is None:
            # Called as a plain function: there is no message to repeat.
            raise exc or sys.exception() or Retry("the task was called directly and cannot be retried")
        check_keywords(self.name, options)
        retries = run.context.retries + 1
        run.max_retries = max_retries
        limit = self.max_retries if max_retries is None else max_retries
        given = None if args is None else list(args), kwargs
        new_args, new_kwargs = retried_arguments(self.run, (run.context.args or [], run.context.kwargs or {}), *given)
        if limit is not None and retries > limit:
            if exc is not None:
                raise exc
            raise MaxRetriesExceededError(
                f"{self.name}[{run.context.id}] was retried {limit} times, which is its max_retries",
                task_args=new_args,
                task_kwargs=new_kwargs,
            )
        if countdown is None and eta is None:
            countdown = self.default_retry_delay
        options |= {"countdown": countdown, "eta": eta}
        due, _ = moments(options, self.app)
        changed = args is not None or kwargs is not None
        run.reporter.repeat(Again(retries, new_args if changed else None, new_kwargs if changed else None, options))
        when = utc(due.timestamp()) if eta is not None and due is not None else countdown
        retry = Retry(exc=exc or _active_exception(), when=when)
        if throw:
            raise retry
        return retry

    def replace(self, sig: Signature[Any]) -> NoReturn:
        """End this run and have another task take its place, under this id: `return self.replace(other.s(1))`.

        Whoever waits for this task gets the other one's result; callbacks go along. The new message and the end of this
        run are stored together.
        """
        run = self._own_run()
        if run is None:
            raise RuntimeError(f"{self.name}.replace() works in a running task; call the other task instead")
        context = run.context
        for callback in context.callbacks or ():
            sig.link(callback)
        for errback in context.errbacks or ():
            sig.link_error(errback)
        sig.freeze(context.id, group_id=context.group, group_index=context.group_index, root_id=context.root_id)
        sig.set(replaced_task_nesting=context.replaced_task_nesting + 1)
        if context.parent_id is not None:
            sig.set(parent_id=context.parent_id)
        self.on_replace(sig)
        raise Ignore("replaced by another task")

    def signature_from_request(
        self,
        request: Context | None = None,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        queue: str | None = None,
        **extra: Any,
    ) -> Signature[R]:
        """The present run as a signature, to be called again."""
        request = self.request if request is None else request
        options = {
            "task_id": request.id,
            "root_id": request.root_id,
            "parent_id": request.parent_id,
            "retries": request.retries,
            "link": request.callbacks,
            "link_error": request.errbacks,
            "expires": request.expires,
            "time_limit": request.time_limit,
            "soft_time_limit": request.soft_time_limit,
            "queue": queue or (request.delivery_info or {}).get("routing_key"),
            "priority": (request.delivery_info or {}).get("priority"),
        }
        given = {name: value for name, value in options.items() if value is not None}
        return self.signature(
            request.args if args is None else args, request.kwargs if kwargs is None else kwargs, {**given, **extra}
        )

    def _own_run(self) -> Run | None:
        run = current_run.get()
        return run if run is not None and run.task is self and not run.context.called_directly else None

    def on_replace(self, sig: Signature[Any]) -> None:
        """Called by `replace` to send the task that takes this one's place."""
        run = self._own_run()
        assert run is not None
        sig.apply_within(run)

    def __repr__(self) -> str:
        return f"<@task: {self.name} of {self.app.main}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"task {self.name} cannot be pickled; pass its name and use app.tasks[name] there")


def _active_exception() -> BaseException | None:
    error = sys.exception()
    return error if isinstance(error, Exception) else None
