"""How many runs a process has left before it is replaced."""

from __future__ import annotations

import threading

__all__ = ["Allowance"]


class Allowance:
    """Thread-safe. None: any number."""

    def __init__(self, runs: int | None) -> None:
        self._left = runs
        self._lock = threading.Lock()

    def take(self, runs: int) -> None:
        """Slots are to run so many more. There may be more than was allowed: what an outage has left here is run as well."""
        self._change(-runs)

    def give_back(self) -> None:
        """It was not run."""
        self._change(1)

    def cap(self, limit: int) -> int:
        """The limit, or what is left."""
        return limit if self._left is None else min(limit, self._left)

    @property
    def spent(self) -> bool:
        """Whether nothing is left."""
        return self._left is not None and self._left <= 0

    def _change(self, by: int) -> None:
        if self._left is not None:
            with self._lock:
                self._left += by
