"""Time as a value that is handed in, so that tests can turn it.

Two clocks in one: `time()` is the wall clock, for what is stored and compared between processes (due times, expiry);
`monotonic()` never jumps, for measuring and for deadlines within a process.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["SYSTEM_CLOCK", "Clock", "SystemClock", "timestamp", "utc"]


class Clock(Protocol):
    """What tells the time."""

    def time(self) -> float:
        """Seconds since 1970, UTC."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes backwards."""


class SystemClock:
    """The machine's clock."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


SYSTEM_CLOCK = SystemClock()


def utc(seconds: float) -> datetime:
    """The aware UTC time of a moment given in seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)


#: The last second that was written, and how: all of a second's timestamps begin alike. One value, so that no lock is needed.
_written: tuple[int, str] = (-1, "")


def timestamp(seconds: float) -> str:
    """As `utc(seconds).isoformat()`, for those who write thousands of them a second."""
    global _written
    whole = int(seconds)
    second, text = _written
    if second != whole:
        text = utc(whole).isoformat()[:19]
        _written = whole, text
    micros = min(round((seconds - whole) * 1_000_000), 999_999)
    return f"{text}.{micros:06d}+00:00" if micros else f"{text}+00:00"
