"""A coroutine function's call that can be interrupted, at its next await or (in a main thread) where it computes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from types import FrameType
from typing import Any

from celeriac.exceptions import SoftTimeLimitExceeded
from celeriac.worker.limits.limiter import Limit
from celeriac.worker.limits.shield import shields

__all__ = ["Interruptible"]


class _SoftCancelled(SoftTimeLimitExceeded, asyncio.CancelledError):
    """A soft limit inside a coroutine: also a cancellation, so that task groups and the like end what they began."""


# Tracebacks show it as what it stands for.
_SoftCancelled.__name__ = _SoftCancelled.__qualname__ = SoftTimeLimitExceeded.__qualname__
_SoftCancelled.__module__ = SoftTimeLimitExceeded.__module__


class Interruptible:
    """`await Interruptible(coroutine)` as `await coroutine`; `interrupt` raises a limit's error inside of it.

    The coroutine is stepped by hand. An interrupt cancels what it awaits, and the cancellation that then arrives here is
    raised inside as the limit's error; cancellations by others pass as they are. All methods are for the loop's thread.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self._task: asyncio.Task[Any] | None = None
        self._pending: Limit | None = None
        self._cancels = 0
        self._over = False
        #: The error of a final limit: whatever the coroutine makes of it, the call raises this.
        self._final: BaseException | None = None

    def interrupt(self, limit: Limit) -> None:
        """The limit's moment has come."""
        if self._over or limit.struck or self._pending is limit:
            return
        limit.struck = True
        self._pending = limit
        if self._task is not None:
            self._cancels += 1
            self._task.cancel()

    def interrupt_where_it_computes(self, limit: Limit, frame: FrameType | None) -> None:
        """For a signal's handler: raise the error if `frame`, which was interrupted, is of this coroutine."""
        if limit.struck or self._pending is not None:
            return
        innermost = frame
        while frame is not None:
            if frame.f_code is _STEPS:
                if frame.f_locals["self"] is self and frame is not innermost:
                    limit.struck = True
                    raise self._error(limit)
            elif shields(frame):
                return
            frame = frame.f_back

    async def run(self) -> Any:
        """As `await`, for those who need a coroutine."""
        return await self

    def __await__(self) -> Generator[Any, Any, Any]:
        self._task = asyncio.current_task()
        try:
            value = yield from self._steps()
        except _SoftCancelled as error:
            if self._final is None:
                raise SoftTimeLimitExceeded(*error.args).with_traceback(error.__traceback__) from None
        except BaseException:
            if self._final is None:
                raise
        else:
            if self._final is None:
                return value
        finally:
            self._over = True
        raise self._final

    def _steps(self) -> Generator[Any, Any, Any]:
        step, argument = self._coroutine.send, None
        while True:
            # This frame is on the stack and not the innermost one while the coroutine computes, and only then.
            if self._pending is not None:
                limit, self._pending = self._pending, None
                self._take_back_cancels()
                step, argument = self._coroutine.throw, self._error(limit)
            try:
                awaited = step(argument)
            except StopIteration as end:
                return end.value
            try:
                step, argument = self._coroutine.send, (yield awaited)
            except GeneratorExit:
                self._coroutine.close()
                raise
            except BaseException as error:
                step, argument = self._coroutine.throw, error

    def _take_back_cancels(self) -> None:
        while self._cancels and self._task is not None:
            self._cancels -= 1
            self._task.uncancel()

    def _error(self, limit: Limit) -> BaseException:
        if limit.final:
            self._final = limit.error
            return asyncio.CancelledError(str(limit.error))
        return _SoftCancelled(*limit.error.args)


_STEPS = Interruptible._steps.__code__
