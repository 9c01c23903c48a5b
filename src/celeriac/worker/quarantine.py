"""Who runs alone: a message that has its last chance, where several slots die together.

It waits for the others to end, and nothing is claimed while it runs, so that no innocent one is buried for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator

from celeriac.engines.base import Lease

__all__ = ["Quarantine"]


class Quarantine:
    """For a courier's thread. `longest_s` is how long a suspect waits for the others, and is alone, at most.

    Without `last_delivery` nobody is a suspect.
    """

    def __init__(self, last_delivery: int | None, longest_s: float, monotonic: Callable[[], float]) -> None:
        self._last_delivery = last_delivery
        self._longest_s = longest_s
        self._monotonic = monotonic
        #: What waits to run alone, the token of what does, and since when.
        self._suspects: deque[Lease] = deque()
        self._alone: int | None = None
        self._since = 0.0

    def __len__(self) -> int:
        """How many wait to run alone."""
        return len(self._suspects)

    def admits(self, lease: Lease) -> bool:
        """Whether the lease is one that is to run alone; it waits here then."""
        if self._last_delivery is None or lease.deliveries < max(2, self._last_delivery):
            return False
        if not self._suspects:
            self._since = self._monotonic()
        self._suspects.append(lease)
        return True

    def lasts(self, out: Collection[int]) -> bool:
        """Whether something runs alone, or is about to; `out` are the tokens that slots have."""
        return bool(self._suspects) or (self._alone in out and not self._over())

    def release(self, out: Collection[int], *, has_free_slot: bool) -> Lease | None:
        """The one that is to begin now, if it is one's turn."""
        if not self._suspects or (out and not (self._over() and has_free_slot)):
            return None
        lease = self._suspects.popleft()
        self._alone, self._since = lease.token, self._monotonic()
        return lease

    def clear(self) -> Iterator[Lease]:
        """All that wait: they are not to run here after all."""
        while self._suspects:
            yield self._suspects.popleft()

    def _over(self) -> bool:
        return self._monotonic() - self._since >= self._longest_s
