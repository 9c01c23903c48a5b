"""Marking at-most-once runs as begun: those that are to begin at the same time in one exchange.

A mark must be in the store before its run begins, so every slot waits for its own. One by one a thousand coroutines would
wait a thousand round trips.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import msgspec

__all__ = ["Marks"]


class _Mark(msgspec.Struct, eq=False):
    token: int
    applied: bool | None = None


class Marks:
    """Groups the marks of many threads. `exchange` says of each token whether its lease is still held."""

    def __init__(self, exchange: Callable[[Sequence[int]], Sequence[bool]]) -> None:
        self._exchange = exchange
        self._exchanging = threading.Lock()
        self._waiting_lock = threading.Lock()
        self._waiting: list[_Mark] = []

    def begin(self, token: int) -> bool:
        """Have the run marked, together with those that came meanwhile; False if its lease is lost."""
        mark = _Mark(token)
        with self._waiting_lock:
            self._waiting.append(mark)
        with self._exchanging:  # whoever gets in marks for all who wait
            if mark.applied is None:
                with self._waiting_lock:
                    batch, self._waiting = self._waiting, []
                if mark not in batch:  # of one who failed
                    batch.append(mark)
                for one, applied in zip(batch, self._exchange([one.token for one in batch]), strict=True):
                    one.applied = applied
        return bool(mark.applied)
