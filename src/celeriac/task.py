"""A function that can be called elsewhere: `Task`, what `@app.task` makes."""

from __future__ import annotations

import inspect
import sys
import types
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, NoReturn, ParamSpec, TypeVar

from celeriac import states
from celeriac.clock import utc
from celeriac.documents import Document
from celeriac.engines.base import Record
from celeriac.exceptions import CeleriacWarning, ConfigError, MaxRetriesExceededError, Retry
from celeriac.messages import Outgoing, decode_body
from celeriac.publishing import CallOptions, encode_arguments, make_outgoing
from celeriac.request import Context, current_run
from celeriac.result import AsyncResult
from celeriac.settings import closest

if TYPE_CHECKING:
    from celeriac.app import Celery

__all__ = ["Task"]

P = ParamSpec("P")
R = TypeVar("R")

_SENT_TOGETHER = 1000

#: What `@app.task(...)` understands, with defaults; None means the application's setting.
_OPTIONS: Mapping[str, Any] = {
    "max_retries": 3,
    "default_retry_delay": 180,
    "ignore_result": None,
    "store_errors_even_if_ignored": None,
    "acks_late": None,
    "track_started": None,
    "queue": None,
    "priority": None,
    "expires": None,
    "throws": (),
    "typing": True,
}


class Task(Generic[P, R]):
    """A registered function. Calling it runs it here; `delay` and `apply_async` have a worker run it.

    One object serves all runs of a process, so state belongs into arguments and results, not into attributes.
    """

    name: str
    max_retries: int | None
    default_retry_delay: float
    ignore_result: bool | None
    store_errors_even_if_ignored: bool | None
    acks_late: bool | None
    track_started: bool | None
    queue: str | None
    priority: int | None
    expires: float | datetime | timedelta | None
    throws: tuple[type[BaseException], ...]
    typing: bool

    def __init__(
        self, app: Celery, function: Callable[..., Any], name: str, bind: bool, options: Mapping[str, Any]
    ) -> None:
        self.app = app
        self.name = name
        self.run: Callable[..., Any] = types.MethodType(function, self) if bind else function
        self.is_async = inspect.iscoroutinefunction(function)
        self.__wrapped__ = function
        self.__name__ = function.__name__
        self.__qualname__ = function.__qualname__
        self.__module__ = function.__module__
        self.__doc__ = function.__doc__
        self._signature: inspect.Signature | None = None
        for option, value in {**_OPTIONS, **_known(name, options)}.items():
            setattr(self, option, value)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now."""
        result: R = self.run(*args, **kwargs)
        return result

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
        *,
        countdown: float | None = None,
        eta: datetime | None = None,
        expires: float | datetime | timedelta | None = None,
        queue: str | None = None,
        priority: int | None = None,
        ignore_result: bool | None = None,
    ) -> AsyncResult[R]:
        """As `delay`, with options: not before `eta` or `countdown` seconds from now; not at all after `expires`.

        A naive datetime is in the application's time zone.
        """
        outgoing, result = self._call(args, kwargs, task_id, countdown, eta, expires, queue, priority, ignore_result)
        self.app.publisher.publish([outgoing])
        return result

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """As `delay`, for coroutines: the event loop goes on meanwhile, and calls at the same time share a round trip."""
        outgoing, result = self._call(args, kwargs)
        await self.app.publisher.publish_async([outgoing])
        return result

    def delay_many(
        self,
        calls: Iterable[Sequence[Any] | Mapping[str, Any]],
        *,
        countdown: float | None = None,
        eta: datetime | None = None,
        expires: float | datetime | timedelta | None = None,
        queue: str | None = None,
        priority: int | None = None,
        ignore_result: bool | None = None,
    ) -> list[AsyncResult[R]]:
        """Call the task many times at the cost of a few: `add.delay_many([(1, 2), (3, 4)])`.

        Each call is a sequence of positional arguments or a dictionary of keyword arguments; the options are those of
        `apply_async`, for all calls. All arguments are checked before the first message is sent; messages are sent a
        thousand at a time, and when that fails those before it have been sent.
        """
        prepared = []
        for call in calls:
            if isinstance(call, str) or not isinstance(call, (Sequence, Mapping)):
                raise TypeError(
                    f"{self.name}: a call is a sequence of arguments or a dictionary of them, not {call!r:.80}"
                )
            args, kwargs = ((), call) if isinstance(call, Mapping) else (call, {})
            prepared.append(self._call(args, kwargs, None, countdown, eta, expires, queue, priority, ignore_result))
        for start in range(0, len(prepared), _SENT_TOGETHER):
            self.app.publisher.publish([outgoing for outgoing, _ in prepared[start : start + _SENT_TOGETHER]])
        return [result for _, result in prepared]

    def _call(
        self,
        args: Iterable[Any] | None,
        kwargs: Mapping[str, Any] | None,
        task_id: str | None = None,
        countdown: float | None = None,
        eta: datetime | None = None,
        expires: float | datetime | timedelta | None = None,
        queue: str | None = None,
        priority: int | None = None,
        ignore_result: bool | None = None,
    ) -> tuple[Outgoing, AsyncResult[R]]:
        positional, named = list(args or ()), dict(kwargs or {})
        if self.typing:
            self._check_arguments(positional, named)
        conf = self.app.conf
        options = CallOptions.of(
            clock=self.app.clock,
            zone=self.app.timezone,
            task_id=task_id,
            countdown=countdown,
            eta=eta,
            expires=expires if expires is not None else self.expires,
            queue=queue or self.queue or conf.task_default_queue,
            priority=_first(priority, self.priority, conf.task_default_priority),
            ignore_result=_first(ignore_result, self.ignore_result, conf.task_ignore_result),
        )
        run = current_run.get()
        outgoing = make_outgoing(self.name, positional, named, options, run)
        result: AsyncResult[R] = AsyncResult(options.task_id, self.app, ignored=options.ignore_result)
        if run is not None:
            run.context.children.append(result)
        return outgoing, result

    def _check_arguments(self, args: list[Any], kwargs: dict[str, Any]) -> None:
        if self._signature is None:
            self._signature = inspect.signature(self.run)
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}{self._signature}: {error}") from None

    def AsyncResult(self, task_id: str) -> AsyncResult[R]:  # noqa: N802  # Celery's name
        """The result of an earlier call, by its id."""
        return AsyncResult(task_id, self.app)

    # ── within a run ─────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def request(self) -> Context:
        """The facts of the present run; defaults when the function was called directly."""
        run = current_run.get()
        return run.context if run is not None and run.task_name == self.name else Context()

    def update_state(self, task_id: str | None = None, state: str | None = None, meta: Any = None) -> None:
        """Store a state of one's own (progress) while the task runs; `AsyncResult.info` is then `meta`.

        A run that has lost its lease stores nothing. Raises `EncodeError` when `meta` cannot be written.
        """
        run = current_run.get()
        task_id = task_id or (run.context.id if run is not None else None)
        if task_id is None:
            raise ValueError("update_state outside of a running task needs a task_id")
        document = Document(task_id, state or states.STARTED, meta)
        if run is not None and task_id == run.context.id:
            run.reporter.progress(document)
        else:
            self.app.results.store([Record(task_id, document.encode(), self.app.result_ttl_s)])

    def retry(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: datetime | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        queue: str | None = None,
        priority: int | None = None,
        expires: float | datetime | timedelta | None = None,
    ) -> Retry:
        """End this run and have the task run again: `raise self.retry(exc=exc, countdown=10)`.

        The new message and the end of this run are stored together. After `max_retries` (of the task, unless given here)
        raises `exc`, or `MaxRetriesExceededError` if there is none. With `throw=False` it returns instead of raising, and
        the run may still return a value.
        """
        run = current_run.get()
        if run is None or run.task_name != self.name:
            # Called as a plain function: there is no message to repeat.
            raise exc or sys.exception() or Retry("the task was called directly and cannot be retried")
        retries = run.context.retries + 1
        limit = self.max_retries if max_retries is None else max_retries
        if limit is not None and retries > limit:
            if exc is not None:
                raise exc
            raise MaxRetriesExceededError(
                f"{self.name}[{run.context.id}] was retried {limit} times, which is its max_retries"
            )
        if countdown is None and eta is None:
            countdown = self.default_retry_delay
        options = CallOptions.of(
            clock=self.app.clock,
            zone=self.app.timezone,
            queue=queue or run.queue,
            task_id=run.context.id,
            priority=run.message.priority if priority is None else priority,
            countdown=countdown,
            eta=eta,
            expires=expires,
        )
        message = run.message.with_headers(
            retries=retries,
            eta=options.eta.isoformat() if options.eta else None,
            redelivered=None,
            **({"expires": options.expires.isoformat()} if options.expires else {}),
        )
        if args is not None or kwargs is not None:
            message = message.with_body(self._changed_body(run.context, run.message, args, kwargs))
        due = options.eta.timestamp() if options.eta else None
        run.publish.append(Outgoing(message.with_priority(options.priority), options.queue, due))
        retry = Retry(
            exc=exc or _active_exception(), when=utc(due) if eta is not None and due is not None else countdown
        )
        if throw:
            raise retry
        return retry

    def _changed_body(
        self, context: Context, message: Any, args: Iterable[Any] | None, kwargs: Mapping[str, Any] | None
    ) -> bytes:
        embed = decode_body(message, self.app.accept).embed
        return encode_arguments(
            self.name,
            context.args if args is None else list(args),
            context.kwargs if kwargs is None else kwargs,
            embed,
        )

    def __repr__(self) -> str:
        return f"<@task: {self.name} of {self.app.main}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"task {self.name} cannot be pickled; pass its name and use app.tasks[name] there")


def _known(task: str, options: Mapping[str, Any]) -> Mapping[str, Any]:
    for option in options.keys() - _OPTIONS.keys():
        near = closest(option, _OPTIONS)
        if near is not None:
            raise ConfigError(f"task {task}: there is no option {option!r}; did you mean {near!r}?")
        warnings.warn(
            f"task {task}: celeriac has no option {option!r}; it is kept as an attribute, and has no effect",
            CeleriacWarning,
            stacklevel=5,
        )
    return options


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _active_exception() -> BaseException | None:
    error = sys.exception()
    return error if isinstance(error, Exception) else None
