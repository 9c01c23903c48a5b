"""The call of a task's function, apart from everything around it.

A pool decides how a function is called: in which thread, on which event loop, and how its time limits reach it. It does so
in a `Caller`, which the executor is given.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

if TYPE_CHECKING:
    import asyncio

__all__ = ["AsyncCaller", "Call", "Caller", "DirectCaller", "run_coroutine"]

R = TypeVar("R")


class Call(msgspec.Struct, frozen=True, gc=False):
    """What is to be called. `token` is the lease's; the limits are seconds from the start of the call."""

    function: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    is_async: bool = False
    token: int = 0
    soft_s: float | None = None
    hard_s: float | None = None


class Caller(Protocol):
    """Calls functions for one slot."""

    def call(self, call: Call) -> Any:
        """Return what the function returns and raise what it raises; `SoftTimeLimitExceeded` is raised inside of it."""

    def close(self) -> None:
        """Let go of what calls have needed; idempotent."""


class AsyncCaller(Protocol):
    """Calls functions for the coroutines of one event loop."""

    async def call(self, call: Call) -> Any:
        """As `Caller.call`; functions that are no coroutine functions run in a thread."""


class DirectCaller:
    """Calls in the thread that asks, without time limits. One event loop for all coroutine functions."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None

    def call(self, call: Call) -> Any:
        """As `Caller.call`."""
        if not call.is_async:
            return call.function(*call.args, **call.kwargs)
        import asyncio

        if asyncio._get_running_loop() is not None:
            return run_coroutine(call.function(*call.args, **call.kwargs))
        return self.runner().run(call.function(*call.args, **call.kwargs), context=contextvars.copy_context())

    def runner(self) -> asyncio.Runner:
        """The event loop of all coroutine functions, so that clients which belong to a loop can be kept."""
        if self._runner is None:
            import asyncio

            self._runner = asyncio.Runner()
        return self._runner

    def close(self) -> None:
        """Close the event loop, if a task has needed one."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None


def run_coroutine(coroutine: Coroutine[Any, Any, R]) -> R:
    """Run it to its end, wherever we are.

    Inside a running event loop, which cannot run another one, it runs on a loop and in a thread of its own, with a copy of
    the context variables; the outer loop stands still meanwhile, as it does for any plain function.
    """
    import asyncio

    context = contextvars.copy_context()

    def run() -> R:
        with asyncio.Runner() as runner:
            return runner.run(coroutine, context=context)

    if asyncio._get_running_loop() is None:
        return run()
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, thread_name_prefix="celeriac-coroutine") as thread:
        return thread.submit(run).result()
