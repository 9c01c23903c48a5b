"""What a running task knows about its run: `self.request`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from celeriac.canvas import Signature
    from celeriac.documents import Document
    from celeriac.messages import Outgoing
    from celeriac.result import AsyncResult
    from celeriac.task import Task

__all__ = ["Again", "Context", "Run", "current_run", "running"]


class Context:
    """The facts of one run, by Celery's names. Outside a run (`called_directly`) there are only defaults.

    Headers that the caller added are attributes as well: `headers={"tenant": 7}` is read as `self.request.tenant`.
    """

    id: str | None = None
    task: str | None = None
    args: list[Any] | None = None
    kwargs: dict[str, Any] | None = None
    retries: int = 0
    root_id: str | None = None
    parent_id: str | None = None
    group: str | None = None
    group_index: int | None = None
    chord: Any = None
    chain: list[Any] | None = None
    callbacks: list[Any] | None = None
    errbacks: list[Any] | None = None
    eta: str | None = None
    expires: str | None = None
    timelimit: list[float | None] | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    origin: str | None = None
    hostname: str | None = None
    reply_to: str | None = None
    correlation_id: str | None = None
    shadow: str | None = None
    ignore_result: bool = False
    is_eager: bool = False
    called_directly: bool = True
    replaced_task_nesting: int = 0
    delivery_info: dict[str, Any] | None = None
    properties: Mapping[str, Any] | None = None
    headers: dict[str, Any] | None = None
    stamped_headers: list[str] | None = None
    stamps: dict[str, Any] | None = None
    logfile: str | None = None
    loglevel: int | None = None
    utc: bool | None = None
    taskset: str | None = None

    def __init__(self, **facts: Any) -> None:
        self.__dict__.update(facts)

    def get(self, name: str, default: Any = None) -> Any:
        """A fact, or `default` for one that this run does not have."""
        return getattr(self, name, default)

    @property
    def children(self) -> list[AsyncResult[Any]]:
        """The tasks that this run has called."""
        children: list[AsyncResult[Any]] = self.__dict__.setdefault("_children", [])
        return children

    def __getattr__(self, name: str) -> Any:
        headers = self.__dict__.get("headers")
        if headers is not None and name in headers:
            return headers[name]
        raise AttributeError(f"this run has no {name!r}, neither as a fact nor as a header that its caller sent")

    def __repr__(self) -> str:
        return f"<Context: {self.__dict__!r}>"


@dataclass(frozen=True, slots=True)
class Again:
    """A run that asks to be repeated: the task's `retry`. What is None stays as it is."""

    retries: int
    args: list[Any] | None
    kwargs: dict[str, Any] | None
    options: Mapping[str, Any]


class Reporter(Protocol):
    """How a run says something before it ends."""

    def progress(self, document: Document) -> None:
        """Store a document under the run's lease."""

    def repeat(self, again: Again) -> None:
        """Have the task run again when this run has ended."""

    def follow(self, signature: Signature[Any], args: Sequence[Any]) -> None:
        """Have another task called when this run has ended, with `args` before its own."""


@dataclass(slots=True)
class Run:
    """A run in progress, and what it has asked to be published when it ends."""

    task: Task[..., Any]
    context: Context
    #: None when the function was called directly, outside of any worker.
    reporter: Reporter | None
    publish: list[Outgoing] = field(default_factory=list)
    #: Whether the function itself has been entered: a `__call__` of the task's class may come before it.
    entered: bool = False
    #: What the function itself has given to `retry`; an automatic retry goes by it as well.
    max_retries: int | None = None
    #: For a function that was called directly: the run in which that happened.
    outer: Run | None = None


#: The run of the code that asks; threads and coroutines each see their own.
current_run: ContextVar[Run | None] = ContextVar("celeriac_run", default=None)


def running() -> Run | None:
    """The run that the code which asks belongs to; functions that it has called directly are part of it."""
    run = current_run.get()
    while run is not None and run.reporter is None:
        run = run.outer
    return run
