"""The result of a task, wherever it runs: `AsyncResult`."""

from __future__ import annotations

import builtins
import threading
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, cast

from celeriac import states
from celeriac.documents import Document
from celeriac.exceptions import OperationalError, TimeoutError
from celeriac.request import current_run

if TYPE_CHECKING:
    from celeriac.app import Celery

__all__ = ["AsyncResult"]

R = TypeVar("R")

#: Waiting is woken by the store; this is only for a wake-up that was lost with the process that should have sent it.
_LOOK_ANYWAY_S = 2.0


class AsyncResult(Generic[R]):
    """What is known of a task by its id. Cheap to make and thread-safe; only asking talks to the result store.

    An id that nobody knows is PENDING, as is a task that waits in its queue.
    """

    def __init__(self, id: str, app: Celery, *, ignored: bool = False) -> None:
        self.id = id
        self.app = app
        #: The task keeps no result; `get` returns None at once.
        self.ignored = ignored
        self._final: Document | None = None

    @property
    def task_id(self) -> str:
        return self.id

    @property
    def state(self) -> str:
        """PENDING, STARTED, RETRY, SUCCESS, FAILURE, REVOKED, or what the task set with `update_state`."""
        return self._document().status

    status = state

    @property
    def result(self) -> Any:
        """The return value, the exception, or the meta of a custom state; None while there is nothing."""
        return self._document().value()

    info = result

    @property
    def traceback(self) -> str | None:
        """The traceback of a failed or retried run, as text."""
        return self._document().traceback

    @property
    def date_done(self) -> str | None:
        """When the task ended, in ISO 8601."""
        return self._document().date_done

    @property
    def children(self) -> list[AsyncResult[Any]]:
        """The tasks that this one called."""
        return [AsyncResult(child[0][0], self.app) for child in self._document().children]

    def ready(self) -> bool:
        """Whether the task has ended."""
        return self._document().ready

    def successful(self) -> bool:
        """Whether the task ended with a return value."""
        return self.state == states.SUCCESS

    def failed(self) -> bool:
        """Whether the task ended with an exception."""
        return self.state == states.FAILURE

    def forget(self) -> None:
        """Delete the stored result."""
        self._final = None
        self.app.results.forget([self.id])

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = _LOOK_ANYWAY_S,
        disable_sync_subtasks: bool = True,
    ) -> R:
        """Wait for the task to end and return its value, or raise its exception (`propagate`).

        The exception is of its own class where that is loaded here, with the remote traceback as its cause. Raises
        `TimeoutError` after `timeout` seconds; with None it waits for ever, also through outages of the store. Inside a
        task it raises `RuntimeError` (all slots could end up waiting for each other) unless `disable_sync_subtasks` is
        False.
        """
        if self.ignored:
            return cast(R, None)
        if disable_sync_subtasks and current_run.get() is not None:
            raise RuntimeError(
                "result.get() inside a task can block the worker for ever (every slot waiting for another task): "
                "let the task end and go on in another one, or pass disable_sync_subtasks=False if that cannot happen"
            )
        deadline = _Deadline(timeout)
        if not self._look(deadline):
            changed = threading.Event()
            with ExitStack() as watching:
                deadline.patiently(lambda: watching.enter_context(self._watch(changed.set)))
                while not self._look(deadline):
                    if not changed.wait(deadline.left(interval)) and deadline.over:
                        self._give_up(timeout)
                    changed.clear()
        return self._outcome(propagate)

    wait = get

    async def aget(self, timeout: float | None = None, propagate: bool = True) -> R:
        """As `get`, for coroutines. `await result` is the same without a timeout."""
        import asyncio

        if self.ignored:
            return cast(R, None)
        deadline = _Deadline(timeout)
        if not await asyncio.to_thread(self._look, deadline):
            loop = asyncio.get_running_loop()
            changed = asyncio.Event()
            watching = ExitStack()
            notify = _Notifier(loop.call_soon_threadsafe, changed.set)
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

    def _watch(self, notify: Callable[[], None]) -> AbstractContextManager[None]:
        return self.app.results.watch(self.id, notify)

    def _look(self, deadline: _Deadline) -> bool:
        ready: bool = deadline.patiently(lambda: self._document().ready)
        return ready

    def _outcome(self, propagate: bool) -> R:
        document = self._document()
        value = document.value()
        if propagate and document.status in states.PROPAGATE_STATES:
            raise value
        return cast(R, value)

    def _give_up(self, timeout: float | None) -> NoReturn:
        raise TimeoutError(
            f"task {self.id} has not ended within {timeout:g} s; its state is {self.state}. `celeriac status` shows "
            "whether a worker serves its queue"
        )

    def _document(self) -> Document:
        if self._final is not None:
            return self._final
        raw = self.app.results.get([self.id]).get(self.id)
        document = Document(self.id, states.PENDING) if raw is None else Document.decode(self.id, raw)
        if document.ready:
            self._final = document
        return document

    def __repr__(self) -> str:
        return f"<AsyncResult: {self.id}>"

    def __str__(self) -> str:
        return self.id

    def __eq__(self, other: object) -> bool:
        return other.id == self.id if isinstance(other, AsyncResult) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> NoReturn:
        raise TypeError("an AsyncResult belongs to its app; pass result.id on and use app.AsyncResult(id) there")


class _Notifier:
    """Calls into an event loop from another thread; silent once the loop is closed."""

    def __init__(self, call_soon: Callable[..., Any], callback: Callable[[], None]) -> None:
        self._call_soon = call_soon
        self._callback = callback

    def __call__(self) -> None:
        try:
            self._call_soon(self._callback)
        except RuntimeError:
            pass


class _Deadline:
    """How long a waiter still has."""

    def __init__(self, timeout_s: float | None) -> None:
        self._end = None if timeout_s is None else time.monotonic() + timeout_s

    @property
    def over(self) -> bool:
        return self._end is not None and time.monotonic() >= self._end

    def left(self, most_s: float) -> float:
        return most_s if self._end is None else max(0.0, min(most_s, self._end - time.monotonic()))

    def patiently(self, ask: Callable[[], Any]) -> Any:
        """Ask the store, through an outage if there is time."""
        while True:
            try:
                return ask()
            except OperationalError:
                if self.over:
                    raise
            time.sleep(self.left(0.2))
