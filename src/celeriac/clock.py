"""Time as a value that is handed in, so that tests can turn it.

Two clocks in one: `time()` is the wall clock, for what is stored and compared between processes (due times, expiry);
`monotonic()` never jumps, for measuring and for deadlines within a process.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["SYSTEM_CLOCK", "Clock", "SystemClock"]


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
