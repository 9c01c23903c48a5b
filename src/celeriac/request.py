"""What a running task knows about its run: `self.request`."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from celeriac.documents import Document
    from celeriac.messages import Message, Outgoing
    from celeriac.result import AsyncResult

__all__ = ["Context", "Run", "current_run"]


@dataclass(slots=True)
class Context:
    """The facts of one run, by Celery's names. Outside a run (`called_directly`) there are only defaults."""

    id: str | None = None
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    retries: int = 0
    root_id: str | None = None
    parent_id: str | None = None
    eta: str | None = None
    expires: str | None = None
    origin: str | None = None
    hostname: str | None = None
    reply_to: str | None = None
    correlation_id: str | None = None
    ignore_result: bool = False
    is_eager: bool = False
    called_directly: bool = True
    delivery_info: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, Any] = field(default_factory=dict)
    children: list[AsyncResult[Any]] = field(default_factory=list)


class Reporter(Protocol):
    """How a run says something before it ends."""

    def progress(self, document: Document) -> None:
        """Store a document under the run's lease."""


@dataclass(slots=True)
class Run:
    """A run in progress: which task, its context and message, and what it has asked to be published when it ends."""

    task_name: str
    context: Context
    message: Message
    queue: str
    reporter: Reporter
    publish: list[Outgoing] = field(default_factory=list)


#: The run of the code that asks; threads and coroutines each see their own.
current_run: ContextVar[Run | None] = ContextVar("celeriac_run", default=None)
