"""Which children are to be started, and when: at once as a rule, later where that would only spin."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from celeriac.retries import Backoff

__all__ = ["Starts"]

logger = logging.getLogger("celeriac.worker")

#: A child that dies sooner than this after its start has its successor wait, so that a broken worker does not spin.
_SOON_S = 1.0


class Starts:
    """The children's names, each with its moment. `first` are those that are due now."""

    def __init__(self, first: list[str], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._pending = [(monotonic(), name) for name in first]
        self._backoff = Backoff(first_s=0.5, longest_s=30.0)
        self._quick_deaths = 0
        self._failures = 0

    @property
    def next_in_s(self) -> float | None:
        """How long until the next is due; None: there is none."""
        due = min((moment for moment, _ in self._pending), default=None)
        return None if due is None else max(0.0, due - self._monotonic())

    def due(self) -> list[str]:
        """Those whose moment has come, taken off; say of each whether it `succeeded` or `failed`."""
        now = self._monotonic()
        due = [start for start in self._pending if start[0] <= now]
        self._pending = [start for start in self._pending if start[0] > now]
        return [name for _, name in due]

    def succeeded(self) -> None:
        """A child was started."""
        if self._failures:
            logger.warning("Processes can be started again")
        self._failures = 0

    def failed(self, name: str, error: OSError) -> None:
        """It could not be started now: again, later."""
        self._failures += 1
        if self._failures == 1:
            logger.error("No process can be started (trying again until one can): %s", error)
        self._pending.append((self._monotonic() + self._delay_s(self._failures), name))

    def replace(self, name: str, started: float, *, blameless: bool) -> None:
        """A child has ended that was started at that moment. `blameless`: there is a reason that will not recur at once."""
        # A task that takes its process down is no reason to have other tasks wait for a new one.
        soon = not blameless and self._monotonic() - started < _SOON_S
        self._quick_deaths = self._quick_deaths + 1 if soon else 0
        self._pending.append((self._monotonic() + (self._delay_s(self._quick_deaths) if soon else 0.0), name))

    def _delay_s(self, attempt: int) -> float:
        return self._backoff.delay_s(attempt, lambda _low, high: high)
