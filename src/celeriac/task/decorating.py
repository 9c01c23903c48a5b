"""What `@app.task` and `@shared_task` make of a function, for type checkers; nothing here is needed at run time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Protocol, TypeVar, overload

from celeriac.task.definition import Task
from celeriac.typevars import P, R

__all__ = ["CoroutineTask", "MakesBoundTask", "MakesTask"]

Bound = TypeVar("Bound", bound=Task[..., Any])


class CoroutineTask(Task[P, R]):
    """The task of a coroutine function: called directly it gives a coroutine, as the function does."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:  # type: ignore[override]
        raise NotImplementedError


class MakesTask(Protocol):
    """A decorator with options: `@app.task(queue="mail")`."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> CoroutineTask[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...


class MakesBoundTask(Protocol):
    """The same with `bind=True`: the function's first parameter is the task, which callers do not give."""

    @overload
    def __call__(self, function: Callable[Concatenate[Bound, P], Coroutine[Any, Any, R]], /) -> CoroutineTask[P, R]: ...

    @overload
    def __call__(self, function: Callable[Concatenate[Bound, P], R], /) -> Task[P, R]: ...
