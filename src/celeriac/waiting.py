"""How a caller waits: until a deadline, through outages, and from within an event loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from celeriac.exceptions import OperationalError

__all__ = ["Deadline", "Notifier"]


class Notifier:
    """Calls into an event loop from another thread; silent once the loop is closed."""

    def __init__(self, call_soon: Callable[..., Any], callback: Callable[[], None]) -> None:
        self._call_soon = call_soon
        self._callback = callback

    def __call__(self) -> None:
        try:
            self._call_soon(self._callback)
        except RuntimeError:
            pass


class Deadline:
    """How long a waiter still has."""

    def __init__(self, timeout_s: float | None) -> None:
        self._end = None if timeout_s is None else time.monotonic() + timeout_s

    @property
    def over(self) -> bool:
        return self._end is not None and time.monotonic() >= self._end

    def left(self, most_s: float) -> float:
        return most_s if self._end is None else max(0.0, min(most_s, self._end - time.monotonic()))

    def patiently(self, ask: Callable[[], Any]) -> Any:
        """Ask the store, through an outage if there is time."""
        while True:
            try:
                return ask()
            except OperationalError:
                if self.over:
                    raise
            time.sleep(self.left(0.2))
