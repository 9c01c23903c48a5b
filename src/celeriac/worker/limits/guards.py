"""How an interrupt reaches the call that a slot is making, and no other.

In the main thread by a signal, which also ends sleeps and system calls: its handler raises only if the frame of the very
call is on the interrupted stack, so one that comes late does nothing. In other threads by an exception that the
interpreter raises between two instructions of Python: a handshake keeps it from the next call, and a thread that is
blocked sees it when it comes back to Python.
"""

from __future__ import annotations

import contextvars
import ctypes
import math
import signal
import sys
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from celeriac.execution.calls import Call
from celeriac.worker.limits.alarm import Alarm
from celeriac.worker.limits.limiter import Limit, Limited, Limiter
from celeriac.worker.limits.shield import shields

if TYPE_CHECKING:
    import asyncio

    from celeriac.worker.limits.coroutines import Interruptible

__all__ = ["Guard", "MainThreadGuard", "ThreadGuard", "guard_of_this_thread"]

#: The alarm is not to come before the limit's moment.
_ALARM_AFTER_S = 0.001


class Guard(Limited, Protocol):
    """Makes calls, one at a time, all from the same thread. `limits` is the call's own and may grow while it is made."""

    def run(self, call: Call, limits: list[Limit]) -> Any:
        """Call a plain function."""

    def run_async(self, call: Call, limits: list[Limit], runner: asyncio.Runner) -> Any:
        """Call a coroutine function."""


def guard_of_this_thread(limiter: Limiter) -> Guard:
    """The guard that fits; Windows has no signals that end a sleep."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    guard = MainThreadGuard(limiter) if in_main_thread and hasattr(signal, "pthread_kill") else ThreadGuard(limiter)
    limiter.add(guard)
    return guard


def _call(call: Call, limits: list[Limit]) -> Any:
    """This frame on a stack, with these limits, says that the call has not ended."""
    return call.function(*call.args, **call.kwargs)


_CALL = _call.__code__


class _Guard:
    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self.limits: list[Limit] | None = None
        self._running: tuple[asyncio.AbstractEventLoop, Interruptible] | None = None

    def run_async(self, call: Call, limits: list[Limit], runner: asyncio.Runner) -> Any:
        from celeriac.worker.limits.coroutines import Interruptible  # with asyncio, which most processes do without

        coroutine = Interruptible(call.function(*call.args, **call.kwargs))
        self._running = runner.get_loop(), coroutine
        self.limits = limits
        if limits:
            self._limiter.notice(limits)
        try:
            return runner.run(coroutine.run(), context=contextvars.copy_context())
        finally:
            self.limits = None
            self._running = None

    def _strike_coroutine(self, limit: Limit) -> bool:
        """Whether there was one to strike."""
        running = self._running
        if running is None:
            return False
        loop, coroutine = running
        try:
            loop.call_soon_threadsafe(coroutine.interrupt, limit)
        except RuntimeError:
            pass  # it has ended, and its loop with it
        return True


class MainThreadGuard(_Guard):
    """For a slot in the main thread. The signal comes from the limiter, and first from a timer of the kernel's."""

    #: Of the two signals that are the user's, the one that Celery uses for this.
    signal: int = getattr(signal, "SIGUSR1", 0)
    #: For calls without limits of their own, at which nobody listens to the other one: it means nothing to anybody else.
    quiet_signal: int = getattr(signal, "SIGURG", 0)

    def __init__(self, limiter: Limiter) -> None:
        super().__init__(limiter)
        self._thread = threading.get_ident()
        self._alarm = Alarm(self.signal)
        self._alarmed = False
        self._listens_to = self.quiet_signal
        signal.signal(self.quiet_signal, self._interrupt)

    def run(self, call: Call, limits: list[Limit]) -> Any:
        if not limits:
            self.limits = limits
            try:
                return _call(call, limits)
            finally:
                self.limits = None
        self._listen(limits)
        self.limits = limits
        self._limiter.notice(limits)
        try:
            return _call(call, limits)
        finally:
            self.limits = None
            self._hear_nothing()

    def run_async(self, call: Call, limits: list[Limit], runner: asyncio.Runner) -> Any:
        if not limits:
            return super().run_async(call, limits, runner)
        self._listen(limits)
        try:
            return super().run_async(call, limits, runner)
        finally:
            self._hear_nothing()

    def strike(self, limit: Limit) -> None:
        self._strike_coroutine(limit)
        signal.pthread_kill(self._thread, self._listens_to)

    def _hear_nothing(self) -> None:
        self._listens_to = self.quiet_signal
        if self._alarmed:
            self._alarmed = False
            self._alarm.clear()

    def _listen(self, limits: list[Limit]) -> None:
        self._listens_to = self.signal
        # Before each call, as a task may have set a handler of its own.
        if signal.getsignal(self.signal) != self._interrupt:
            signal.signal(self.signal, self._interrupt)
        earliest = min(limit.at for limit in limits)
        if earliest < math.inf:
            self._alarmed = True
            self._alarm.set(max(0.0, earliest - self._limiter.monotonic()) + _ALARM_AFTER_S)

    def _interrupt(self, _number: int, frame: FrameType | None) -> None:
        now = self._limiter.monotonic()
        for limit in self.limits or ():
            if limit.at <= now and not limit.struck:
                if self._running is not None:
                    self._running[1].interrupt_where_it_computes(limit, frame)
                else:
                    _raise_inside(limit, frame)


def _raise_inside(limit: Limit, frame: FrameType | None) -> None:
    """If the interrupted frame belongs to the call of this limit."""
    while frame is not None:
        if frame.f_code is _CALL:
            if limit in frame.f_locals["limits"]:
                limit.struck = True
                raise limit.error
        elif shields(frame):
            return  # the limiter tries again in a moment
        frame = frame.f_back


class ThreadGuard(_Guard):
    """For a slot in any other thread."""

    def __init__(self, limiter: Limiter) -> None:
        super().__init__(limiter)
        self._thread = threading.get_ident()
        self._posting = False

    def run(self, call: Call, limits: list[Limit]) -> Any:
        # The exception may come anywhere from here on, once at most (one limit, one strike).
        try:
            self.limits = limits
            if limits:
                self._limiter.notice(limits)
            return _call(call, limits)
        finally:
            # After this nothing is on its way. An exception that comes in the middle was the one.
            self.limits = None
            if limits:  # also where it had none in the beginning
                while self._posting:
                    time.sleep(0)
                _raise_in(self._thread, None)

    def strike(self, limit: Limit) -> None:
        if self._strike_coroutine(limit):
            return
        self._posting = True
        try:
            if limit in (self.limits or ()) and self._may_be_interrupted(limit):
                limit.struck = True
                _raise_in(self._thread, type(limit.error))
        finally:
            self._posting = False

    def _may_be_interrupted(self, limit: Limit) -> bool:
        frame = sys._current_frames().get(self._thread)
        while frame is not None:
            if frame.f_code is _CALL:
                return limit in frame.f_locals["limits"]
            if shields(frame):
                return False
            frame = frame.f_back
        return False


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    """Have the interpreter raise this in the thread, or take back what it has not yet raised."""
    error = ctypes.py_object() if kind is None else ctypes.py_object(kind)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), error)
