"""The one thread of a process that notices when a run's time is over."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["Limit", "Limited", "Limiter"]

_FIRST_PATIENCE_S = 0.005
_MOST_PATIENCE_S = 0.5
_LONGEST_SLEEP_S = 3600.0


class Limit:
    """The moment at which one call is to be interrupted, and the error it then raises. `final` leaves it no choice."""

    __slots__ = ("at", "error", "final", "next_at", "patience_s", "struck")

    def __init__(self, at: float, error: BaseException, *, final: bool = False) -> None:
        self.at = at
        self.error = error
        self.final = final
        #: Whether the error has been raised (or is bound to be); said by who raises it.
        self.struck = False
        #: When the limiter strikes (again), and how long it then waits.
        self.next_at = at
        self.patience_s = _FIRST_PATIENCE_S


class Limited(Protocol):
    """A slot, as the limiter sees it."""

    #: Of the call it makes now; None when it makes none.
    limits: list[Limit] | None

    def strike(self, limit: Limit) -> None:
        """Interrupt the call of this limit, if it still runs and may be interrupted just now. Must not raise."""


class Limiter:
    """Strikes when a limit's moment has come, and again until the call was reached or has ended.

    The thread starts with the first limit, and sleeps until the earliest moment it knows of. Setting a limit costs no lock
    and rarely a wake-up; a limit that is gone by its moment costs nothing.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.monotonic = monotonic
        self._slots: list[Limited] = []
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._wakes_at = math.inf
        self._adding = threading.Lock()
        self._started = False

    def add(self, slot: Limited) -> None:
        """Look after this slot's limits from now on."""
        with self._adding:
            self._slots = [*self._slots, slot]

    def notice(self, limits: list[Limit]) -> None:
        """A slot has got these. Safe to be interrupted by them."""
        if not self._started:
            self._start()
        if min(limit.at for limit in limits) < self._wakes_at:
            self._bell.put(None)

    def interrupt(self, make_error: Callable[[], Exception]) -> None:
        """Interrupt every call that is being made now, whether or not it has a limit, and none that comes later."""
        now = self.monotonic()
        for slot in self._slots:
            limits = slot.limits
            if limits is not None:
                limits.append(Limit(now, make_error(), final=True))
        self._start()
        self._bell.put(None)

    def strike_now(self, limit: Limit) -> None:
        """This limit's moment is now. From any thread; nothing happens if its call has ended."""
        limit.at = limit.next_at = self.monotonic()
        self._start()
        self._bell.put(None)

    def _start(self) -> None:
        with self._adding:
            if not self._started:
                self._started = True
                threading.Thread(target=self._watch, name="celeriac-limiter", daemon=True).start()

    def _watch(self) -> None:
        while True:
            # Who gets a limit while we look rings, as anything is earlier than never.
            self._wakes_at = math.inf
            now = self.monotonic()
            self._wakes_at = earliest = self._strike_due(now)
            try:
                self._bell.get(
                    timeout=None if earliest == math.inf else min(max(0.0, earliest - now), _LONGEST_SLEEP_S)
                )
            except queue.Empty:
                pass

    def _strike_due(self, now: float) -> float:
        """Strike, and return when to look again."""
        earliest = math.inf
        for slot in self._slots:
            for limit in slot.limits or ():
                if limit.struck:
                    continue
                if limit.next_at <= now:
                    slot.strike(limit)
                    limit.next_at = now + limit.patience_s
                    limit.patience_s = min(2 * limit.patience_s, _MOST_PATIENCE_S)
                earliest = min(earliest, limit.next_at)
        return earliest
