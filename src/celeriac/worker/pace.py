"""How long tasks have been taking, and how many therefore may wait for their slot."""

from __future__ import annotations

from collections.abc import Callable

from celeriac.worker.courier_options import CourierOptions

__all__ = ["Pace"]


class Pace:
    """Of the runs of some slots. `begin` and `end` are for the slots' threads, the rest for the courier's."""

    def __init__(self, slots: int, options: CourierOptions, monotonic: Callable[[], float]) -> None:
        self._slots = slots
        self._options = options
        self._monotonic = monotonic
        #: When the runs in progress have begun, by token, and the newest of them.
        self._begun: dict[int, float] = {}
        self._newest_begun = 0.0
        self._usual_s = 1.0

    def begin(self, token: int) -> None:
        """A slot has taken this lease."""
        self._begun[token] = self._newest_begun = self._monotonic()

    def end(self, token: int) -> None:
        """Its run has ended."""
        began = self._begun.pop(token, None)
        if began is not None:
            # Half of the newest run: fast to learn that tasks have become long, which is the costly mistake.
            self._usual_s += (self._monotonic() - began - self._usual_s) / 2

    def forget(self, token: int) -> None:
        """It was not run."""
        self._begun.pop(token, None)

    def batch(self) -> int:
        """How many runs all slots together can begin within the time we plan ahead."""
        startable = int(self._slots * self._options.ahead_s / max(self._usual_s, 1e-6))
        return max(1, min(self._options.most_ahead, startable))

    def overrun(self) -> bool:
        """Whether all slots are busy and none has begun anything for longer than what waits may wait."""
        return len(self._begun) >= self._slots and self._monotonic() - self._newest_begun > self._options.overrun_s
