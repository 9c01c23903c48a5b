"""What a running task knows about its run: `self.request`."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celeriac.result import AsyncResult
    from celeriac.runs import Run

__all__ = ["Context", "current_run", "running"]


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

    @classmethod
    def of(cls, facts: dict[str, Any]) -> Context:
        """With these facts, which it keeps as they are."""
        context = cls()
        context.__dict__ = facts
        return context

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


#: The run of the code that asks; threads and coroutines each see their own.
current_run: ContextVar[Run | None] = ContextVar("celeriac_run", default=None)


def running() -> Run | None:
    """The run that the code which asks belongs to; functions that it has called directly are part of it."""
    run = current_run.get()
    while run is not None and run.reporter is None:
        run = run.outer
    return run
