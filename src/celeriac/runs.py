"""A run in progress: what the function that runs may ask of whoever runs it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from celeriac.request import Context

if TYPE_CHECKING:
    from celeriac.canvas import Signature
    from celeriac.documents import Document
    from celeriac.messages import Outgoing
    from celeriac.task import Task

__all__ = ["Again", "Reporter", "Run"]


class Again(msgspec.Struct, frozen=True):
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


class Run(msgspec.Struct, eq=False):
    """A run in progress, and what it has asked to be published when it ends."""

    task: Task[..., Any]
    #: The context, or what makes it when it is first asked for: most tasks never ask.
    facts: Context | Callable[[], Context]
    #: None when the function was called directly, outside of any worker.
    reporter: Reporter | None
    publish: list[Outgoing] = msgspec.field(default_factory=list)
    #: Whether the function itself has been entered: a `__call__` of the task's class may come before it.
    entered: bool = False
    #: What the function itself has given to `retry`; an automatic retry goes by it as well.
    max_retries: int | None = None
    #: For a function that was called directly: the run in which that happened.
    outer: Run | None = None

    @property
    def context(self) -> Context:
        """What the run knows about itself. The same object for all threads that ask."""
        if isinstance(self.facts, Context):
            return self.facts
        with _making:
            if not isinstance(self.facts, Context):
                self.facts = self.facts()
            return self.facts

    @property
    def was_asked(self) -> bool:
        """Whether anybody has seen the context, and may have changed it."""
        return isinstance(self.facts, Context)


_making = threading.Lock()
