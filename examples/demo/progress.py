"""How far the demo is: the values that the views draw."""

from collections import deque
from dataclasses import dataclass

__all__ = ["Bar", "Meter", "Snapshot"]


@dataclass(frozen=True, slots=True)
class Bar:
    """One kind of task: how many there are, how many are done, how fast it goes."""

    name: str
    done: int
    total: int
    per_s: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that can be seen at one moment."""

    elapsed_s: float
    bars: tuple[Bar, ...]
    retries: int
    worker_pid: int
    log: tuple[str, ...]


class Meter:
    """Tasks per second, of the last seconds while it goes on and of the whole afterwards.

    A rate since the start would still crawl when the work already flies.
    """

    def __init__(self, total: int, window_s: float = 2.0) -> None:
        self._total = total
        self._window_s = window_s
        self._recent: deque[tuple[float, int]] = deque()
        self._begun_s: float | None = None
        self._ended_per_s: float | None = None

    def per_s(self, now_s: float, done: int) -> float:
        if self._ended_per_s is not None:
            return self._ended_per_s
        if done == 0 or self._begun_s is None:
            self._begun_s = now_s
        self._recent.append((now_s, done))
        # One point beyond the window stays, so that there is always a span to reckon with.
        while len(self._recent) > 2 and self._recent[1][0] <= now_s - self._window_s:
            self._recent.popleft()
        if done == self._total and now_s > self._begun_s:
            self._ended_per_s = done / (now_s - self._begun_s)
            return self._ended_per_s
        first_s, first = self._recent[0]
        return (done - first) / (now_s - first_s) if now_s > first_s else 0.0
