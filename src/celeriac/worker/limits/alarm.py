"""A timer of the kernel's that sends a signal to one thread (Linux).

Our own limiter is a thread of Python, and gets no turn while C code keeps the interpreter to itself. Some such code looks
for signals all the same: a regular expression that does not come to an end is the usual case.
"""

from __future__ import annotations

import ctypes
import sys
import threading

__all__ = ["Alarm"]

_CLOCK_MONOTONIC = 1
_SIGEV_THREAD_ID = 4


class _SigEvent(ctypes.Structure):
    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("thread_id", ctypes.c_int),
        ("padding", ctypes.c_byte * 48),
    )


class _ITimerSpec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


_NEVER = _ITimerSpec(0, 0, 0, 0)


class Alarm:
    """For the calling thread. Where there is no such timer, `set` does nothing."""

    def __init__(self, signal_number: int) -> None:
        self._timer: ctypes.c_void_p | None = None
        if sys.platform == "linux":
            event = _SigEvent(None, signal_number, _SIGEV_THREAD_ID, threading.get_native_id())
            timer = ctypes.c_void_p()
            libc = ctypes.CDLL(None)
            try:
                made = libc.timer_create(_CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(timer)) == 0
            except AttributeError:  # an older libc has it elsewhere
                made = False
            if made:
                self._timer = timer
                self._settime = libc.timer_settime

    def set(self, after_s: float) -> None:
        """Send the signal once, so many seconds from now, and not when it was to be sent before."""
        seconds = int(after_s)
        self._set(_ITimerSpec(0, 0, seconds, max(1, int((after_s - seconds) * 1e9))))

    def clear(self) -> None:
        """Send none: even one that does nothing ends a system call of whatever runs next."""
        self._set(_NEVER)

    def _set(self, spec: _ITimerSpec) -> None:
        if self._timer is not None:
            self._settime(self._timer, 0, ctypes.byref(spec), None)
