"""All tasks of one kind: published a few at a time, then followed until the last has ended."""

from collections.abc import Callable, Iterable
from typing import Any

from celeriac import states
from celeriac.result import AsyncResult
from examples.demo.progress import Bar, Meter

__all__ = ["Batch"]

Publish = Callable[[], AsyncResult[Any]]


class Batch:
    """Counts what is published and done, and keeps a sentence for everything that failed."""

    def __init__(self, name: str, calls: Iterable[Publish]) -> None:
        self.name = name
        self.failures: list[str] = []
        self._calls = list(calls)
        self._published = 0
        self._waiting: list[AsyncResult[Any]] = []
        self._meter = Meter(len(self._calls))

    @property
    def all_published(self) -> bool:
        return self._published == len(self._calls)

    @property
    def all_done(self) -> bool:
        return self.all_published and not self._waiting

    def publish(self, count: int) -> None:
        """Publish the next `count` tasks, or what is left of them."""
        for call in self._calls[self._published : self._published + count]:
            self._waiting.append(call())
            self._published += 1

    def follow(self) -> None:
        """Ask for the state of every task that had not ended when last asked."""
        waiting = []
        for result in self._waiting:
            # One look per task: asked twice, the answers may differ.
            state = result.state
            if state not in states.READY_STATES:
                waiting.append(result)
            elif state != states.SUCCESS:
                self.failures.append(f"task {result.id} of the {self.name} ended as {state}: {result.result!r}")
        self._waiting = waiting

    def bar(self, now_s: float) -> Bar:
        done = self._published - len(self._waiting)
        return Bar(self.name, done, len(self._calls), self._meter.per_s(now_s, done))

    def unfinished(self) -> list[str]:
        """A sentence for every task that has not ended yet."""
        return [f"task {result.id} of the {self.name} has not ended: {result.state}" for result in self._waiting]
