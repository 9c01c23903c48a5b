"""A clock for tests: it stands still until it is told to go."""

from __future__ import annotations

__all__ = ["ManualClock"]


class ManualClock:
    """Give it to an application, `Celery(clock=ManualClock())`, and turn it: `clock.advance(3600)`."""

    def __init__(self, start: float = 1_767_323_045.0) -> None:
        self._time = start
        self._monotonic = 0.0

    def time(self) -> float:
        """Seconds since 1970, UTC; at first `start` (2026-01-02 03:04:05)."""
        return self._time

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass; raises `ValueError` for a step back."""
        if seconds < 0:
            raise ValueError(f"time does not go backwards: {seconds!r}")
        self._time += seconds
        self._monotonic += seconds
