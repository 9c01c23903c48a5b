"""The result of a task, wherever it runs: `AsyncResult`; and of one that ran here: `EagerResult`."""

from __future__ import annotations

import builtins
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, cast

from celeriac import states
from celeriac.documents import Document
from celeriac.exceptions import IncompleteStream, TaskRevokedError, TimeoutError
from celeriac.request import running
from celeriac.typevars import R
from celeriac.waiting import Deadline, Notifier

if TYPE_CHECKING:
    from celeriac.app import Celery
    from celeriac.engines.base import ResultStore

__all__ = ["AsyncResult", "EagerResult", "allow_join_result", "denied_join_result"]

#: Waiting is woken by the store; this is only for a wake-up that was lost with the process that should have sent it.
_LOOK_ANYWAY_S = 2.0
#: Whether a task may wait for others; None: a worker's may not, one that was applied here may.
_may_wait: ContextVar[bool | None] = ContextVar("celeriac_may_wait", default=None)


class AsyncResult(Generic[R]):
    """What is known of a task by its id. Cheap to make and thread-safe; only asking talks to the result store.

    An id that nobody knows is PENDING, as is a task that waits in its queue. Without an `app` it is of the current one;
    `backend` is a result store to ask in place of the application's.
    """

    TimeoutError = TimeoutError

    def __init__(
        self,
        id: str,
        backend: ResultStore | None = None,
        task_name: str | None = None,
        app: Celery | None = None,
        parent: AsyncResult[Any] | None = None,
        *,
        ignored: bool = False,
    ) -> None:
        given: Any = id
        if not isinstance(given, str) or not given:
            raise ValueError(f"AsyncResult needs the id of a task, not {given!r:.80}")
        self.id = id
        #: The result of the task whose callback this one is, where it was called as one.
        self.parent = parent
        #: The task keeps no result; `get` returns None at once.
        self.ignored = ignored
        self._app = app
        self._backend = backend
        self._task_name = task_name
        self._final: Document | None = None

    @property
    def app(self) -> Celery:
        """The application whose result store is asked."""
        if self._app is None:
            from celeriac.app.current import current_app

            self._app = cast("Celery", current_app._get_current_object())
        return self._app

    @property
    def backend(self) -> ResultStore:
        """The result store that is asked."""
        return self._backend or self.app.results

    @property
    def task_id(self) -> str:
        return self.id

    # ── what is known ────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def state(self) -> str:
        """PENDING, STARTED, RETRY, SUCCESS, FAILURE, REVOKED, or what the task set with `update_state`."""
        return self._document().status

    @property
    def status(self) -> str:
        """The same as `state`."""
        return self.state

    @property
    def result(self) -> Any:
        """The return value, the exception, or the meta of a custom state; None while there is nothing."""
        return self._document().value()

    @property
    def info(self) -> Any:
        """The same as `result`."""
        return self.result

    @property
    def traceback(self) -> str | None:
        """The traceback of a failed or retried run, as text."""
        return self._document().traceback

    @property
    def date_done(self) -> datetime | None:
        """When the task ended, in UTC."""
        text = self._document().date_done
        return None if text is None else datetime.fromisoformat(text)

    @property
    def children(self) -> list[AsyncResult[Any]]:
        """The tasks that this one called."""
        return [AsyncResult(child[0][0], self._backend, app=self.app) for child in self._document().children]

    @property
    def name(self) -> str | None:
        """The task's name; stored with `result_extended`, else known to whoever called it."""
        return self._document().name or self._task_name

    @property
    def args(self) -> Any:
        """The task's positional arguments, with `result_extended`."""
        return self._document().args

    @property
    def kwargs(self) -> Any:
        """The task's keyword arguments, with `result_extended`."""
        return self._document().kwargs

    @property
    def worker(self) -> str | None:
        """The name of the worker that ran it, with `result_extended`."""
        return self._document().worker

    @property
    def retries(self) -> int | None:
        """How often it had been retried, with `result_extended`."""
        return self._document().retries

    @property
    def queue(self) -> str | None:
        """The queue it came from, with `result_extended`."""
        return self._document().queue

    def ready(self) -> bool:
        """Whether the task has ended."""
        return self._document().ready

    def successful(self) -> bool:
        """Whether the task ended with a return value."""
        return self.state == states.SUCCESS

    def failed(self) -> bool:
        """Whether the task ended with an exception."""
        return self.state == states.FAILURE

    def exists(self) -> bool:
        """Whether anything is stored: tells a task that waits, or an unknown id, from one that has begun."""
        return self._final is not None or bool(self.backend.get([self.id]))

    def forget(self) -> None:
        """Delete the stored result."""
        self._final = None
        self.backend.forget([self.id])

    # ── waiting ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = _LOOK_ANYWAY_S,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callable[[str, Any], Any] | None = None,
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        disable_sync_subtasks: bool = True,
    ) -> R:
        """Wait for the task to end and return its value, or raise its exception (`propagate`).

        The exception is of its own class where that is loaded here, with the remote traceback as its cause. Raises
        `TimeoutError` after `timeout` seconds; with None it waits for ever, also through outages of the store. Inside a
        task it raises `RuntimeError` (all slots could end up waiting for each other) unless `disable_sync_subtasks` is
        False. `on_interval` is called each time it looks, at least every `interval` seconds; `callback` with the id and
        the value at the end; `on_message` with the final document. `no_ack` is for brokers that store no results.
        """
        if self.ignored:
            return cast(R, None)
        if disable_sync_subtasks:
            _refuse_in_a_task()
        if follow_parents and propagate and self.parent is not None:
            self.parent.maybe_throw()
        if self._final is None:
            self._follow(timeout, interval, on_interval)
        if on_message is not None:
            on_message(self._document().content())
        return self._outcome(propagate, callback)

    wait = get

    async def aget(self, timeout: float | None = None, propagate: bool = True) -> R:
        """As `get`, for coroutines: `await result` or `await result.aget(timeout=5)`."""
        import asyncio

        if self.ignored:
            return cast(R, None)
        _refuse_in_a_task()
        deadline = Deadline(timeout)
        if not await asyncio.to_thread(self._look, deadline):
            loop = asyncio.get_running_loop()
            changed = asyncio.Event()
            watching = ExitStack()
            notify = Notifier(loop.call_soon_threadsafe, changed.set)
            try:
                await asyncio.to_thread(deadline.patiently, lambda: watching.enter_context(self._watch(notify)))
                while not await asyncio.to_thread(self._look, deadline):
                    try:
                        await asyncio.wait_for(changed.wait(), deadline.left(_LOOK_ANYWAY_S))
                    except builtins.TimeoutError:
                        if deadline.over:
                            self._give_up(timeout)
                    changed.clear()
            finally:
                await asyncio.to_thread(watching.close)
        return self._outcome(propagate)

    def __await__(self) -> Generator[Any, None, R]:
        return self.aget().__await__()

    def then(
        self,
        callback: Callable[[Self], Any],
        on_error: Callable[[BaseException], Any] | None = None,
        weak: bool = False,
    ) -> Self:
        """Have `callback` called with this result when the task has ended, in a thread of its own; returns this result.

        `on_error` is called with what the callback, or the wait for the result, raises.
        """

        def wait() -> None:
            try:
                self.get(propagate=False, disable_sync_subtasks=False)
                callback(self)
            except Exception as error:
                if on_error is None:
                    raise
                on_error(error)

        threading.Thread(target=wait, name=f"celeriac-then-{self.id}", daemon=True).start()
        return self

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], Any] | None = None) -> Any:
        """The value as it is now; if the task has failed, its exception is raised."""
        return self._outcome(propagate, callback)

    maybe_reraise = maybe_throw

    def throw(self, error: BaseException) -> NoReturn:
        """Raise an exception in place of the task's."""
        raise error

    # ── tasks that it called ─────────────────────────────────────────────────────────────────────────────────────────

    def iterdeps(self, intermediate: bool = False) -> Iterator[tuple[AsyncResult[Any] | None, AsyncResult[Any]]]:
        """This task, the tasks it called, and so on, each with the one that called it.

        Raises `IncompleteStream` at one that has not ended, unless `intermediate`.
        """
        waiting: deque[tuple[AsyncResult[Any] | None, AsyncResult[Any]]] = deque([(None, self)])
        while waiting:
            parent, node = waiting.popleft()
            yield parent, node
            if node.ready():
                waiting.extend((node, child) for child in node.children)
            elif not intermediate:
                raise IncompleteStream(f"task {node.id} has not ended, so what it calls is not known yet")

    def collect(self, intermediate: bool = False, **options: Any) -> Iterator[tuple[AsyncResult[Any], Any]]:
        """Each of these with its value, waiting for it; options are those of `get`."""
        for _, node in self.iterdeps(intermediate):
            yield node, node.get(**options)

    def get_leaf(self) -> Any:
        """The value of the last of them."""
        value = None
        for _, node in self.iterdeps():
            value = node.get()
        return value

    def as_tuple(self) -> tuple[tuple[str, Any], None]:
        """The id and the parents' as tuples, which can be stored."""
        return (self.id, self.parent and self.parent.as_tuple()), None

    def as_list(self) -> list[str]:
        """The id and the parents' ids."""
        return [self.id, *(self.parent.as_list() if self.parent is not None else [])]

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: str | int | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Have the task not run, or with `terminate` also end its run (`app.control.revoke`).

        With `wait` it returns when the task has ended, one way or the other, or after `timeout` seconds.
        `connection` has no effect.
        """
        self.app.control.revoke(self.id, terminate=terminate, signal="SIGTERM" if signal is None else signal)
        if wait:
            try:
                self.get(timeout=timeout, propagate=False, disable_sync_subtasks=False)
            except TimeoutError:
                pass

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _watch(self, notify: Callable[[], None]) -> AbstractContextManager[None]:
        return self.backend.watch(self.id, notify)

    def _follow(self, timeout_s: float | None, interval_s: float, on_interval: Callable[[], Any] | None) -> None:
        """Wait until the final document is there."""
        deadline = Deadline(timeout_s)
        with deadline.patiently(lambda: self.backend.follow(self.id)) as follower:
            while True:
                raw = deadline.patiently(lambda: follower.wait(deadline.left(interval_s)))
                if self._read(raw).ready if raw is not None else self._look(deadline):
                    return
                if deadline.over:
                    self._give_up(timeout_s)
                if on_interval is not None:
                    on_interval()

    def _look(self, deadline: Deadline) -> bool:
        ready: bool = deadline.patiently(lambda: self._document().ready)
        return ready

    def _outcome(self, propagate: bool, callback: Callable[[str, Any], Any] | None = None) -> R:
        document = self._document()
        value = document.value()
        if propagate and document.status in states.PROPAGATE_STATES:
            raise value
        if callback is not None:
            callback(self.id, value)
        return cast(R, value)

    def _give_up(self, timeout: float | None) -> NoReturn:
        raise TimeoutError(
            f"task {self.id} has not ended within {timeout:g} s; its state is {self.state}. `celeriac status` shows "
            "whether a worker serves its queue"
        )

    def _document(self) -> Document:
        if self._final is not None:
            return self._final
        return self._read(self.backend.get([self.id]).get(self.id))

    def _read(self, raw: bytes | None) -> Document:
        document = Document(self.id, states.PENDING) if raw is None else self.app.decode_document(self.id, raw)
        if document.ready:
            self._final = document
        return document

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id}>"

    def __str__(self) -> str:
        return self.id

    def __eq__(self, other: object) -> bool:
        return other.id == self.id if isinstance(other, AsyncResult) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> Any:
        raise TypeError("an AsyncResult belongs to its app; pass result.id on and use app.AsyncResult(id) there")


class EagerResult(AsyncResult[R]):
    """The result of a task that ran in this process: its value as it is, and no store behind it."""

    def __init__(
        self,
        id: str,
        ret_value: Any,
        state: str,
        traceback: str | None = None,
        name: str | None = None,
        app: Celery | None = None,
    ) -> None:
        super().__init__(id, app=app, task_name=name)
        self._value = ret_value
        self._state = state
        self._traceback = traceback

    @property
    def state(self) -> str:
        return self._state

    @property
    def result(self) -> Any:
        return self._value

    @property
    def traceback(self) -> str | None:
        return self._traceback

    @property
    def children(self) -> list[AsyncResult[Any]]:
        return []

    def ready(self) -> bool:
        """True: it ran before this result was made."""
        return True

    def exists(self) -> bool:
        """True."""
        return True

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = _LOOK_ANYWAY_S,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callable[[str, Any], Any] | None = None,
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        disable_sync_subtasks: bool = True,
    ) -> R:
        """The value, or its exception raised."""
        if disable_sync_subtasks:
            _refuse_in_a_task()
        if propagate and self._state in states.PROPAGATE_STATES:
            raise self._value
        return cast(R, self._value if self._state in (states.SUCCESS, *states.EXCEPTION_STATES) else None)

    wait = get

    async def aget(self, timeout: float | None = None, propagate: bool = True) -> R:
        """As `get`."""
        return self.get(propagate=propagate)

    def forget(self) -> None:
        """Nothing is stored."""

    def revoke(self, *_args: Any, **_kwargs: Any) -> None:
        """Mark it as revoked; it has run all the same."""
        self._state, self._value, self._traceback = states.REVOKED, TaskRevokedError("revoked"), None

    def _document(self) -> Document:
        return Document(self.id, self._state, self._value, self._traceback)

    def __reduce__(self) -> Any:
        return EagerResult, (self.id, self._value, self._state, self._traceback, self._task_name)


@contextmanager
def allow_join_result() -> Iterator[None]:
    """Let the tasks in this block wait for other tasks, where that is known to end."""
    token = _may_wait.set(True)
    try:
        yield
    finally:
        _may_wait.reset(token)


@contextmanager
def denied_join_result() -> Iterator[None]:
    """Refuse it in this block, also to tasks that run in this process."""
    token = _may_wait.set(False)
    try:
        yield
    finally:
        _may_wait.reset(token)


def _refuse_in_a_task() -> None:
    run, may_wait = running(), _may_wait.get()
    if run is not None and not (run.context.is_eager if may_wait is None else may_wait):
        raise RuntimeError(
            "result.get() inside a task can block the worker for ever (every slot waiting for another task): "
            "let the task end and go on in another one, or pass disable_sync_subtasks=False if that cannot happen"
        )
