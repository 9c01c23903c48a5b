"""What tasks say of themselves (`tasks/tally.py`), and how fast they were begun."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.processes import BenchError

__all__ = ["Moment", "Tally", "Watched", "watch"]

_LOOK_S = 0.02
#: The first part of a backlog warms the worker up and is not counted.
_WARM = 0.15
#: Nothing new for so long, and the worker is taken to be stuck.
_STILL_S = 40.0


class Tally:
    """The files of one session."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self) -> tuple[int, float]:
        """How many tasks have begun, and when (monotonic) the last one did."""
        begun, last = 0, 0.0
        for file in self._folder.iterdir():
            data = file.read_bytes()
            if len(data) == 24:
                number, when, _ = struct.unpack("ddd", data)
                begun, last = begun + int(number), max(last, when)
        return begun, last

    def span(self, count: int) -> float:
        """Wait until so many have begun; the seconds from the first one's begin to the last one's."""
        first = 0.0
        deadline = time.monotonic() + 2 * _STILL_S
        while True:
            begun, last = self.read()
            if begun and not first:
                first = self._first()
            if begun >= count:
                return last - first
            if time.monotonic() > deadline:
                raise BenchError(f"only {begun} of {count} tasks have begun")
            time.sleep(_LOOK_S / 10)

    def _first(self) -> float:
        firsts: list[float] = [struct.unpack("ddd", file.read_bytes())[2] for file in self._folder.iterdir()]
        return min(firsts)


@dataclass(frozen=True)
class Moment:
    """How far a worker had come, and what it had cost until then."""

    begun: int
    at: float
    cpu_s: float | None


@dataclass(frozen=True)
class Watched:
    """A backlog that was drained, from its first counted task to its last."""

    start: Moment
    end: Moment

    @property
    def tasks(self) -> int:
        return self.end.begun - self.start.begun

    @property
    def tasks_per_s(self) -> float:
        return self.tasks / (self.end.at - self.start.at)

    @property
    def cpu_s_per_1000(self) -> float | None:
        if self.start.cpu_s is None or self.end.cpu_s is None:
            return None
        return (self.end.cpu_s - self.start.cpu_s) / self.tasks * 1000


def watch(read: Callable[[], tuple[int, float]], count: int, cpu_s: Callable[[], float | None]) -> Watched:
    """Look on until so many tasks have begun. The clock ends when the last one has, whenever we come to see it."""
    start: Moment | None = None
    seen, changed_at = 0, time.monotonic()
    while True:
        time.sleep(_LOOK_S)
        begun, last = read()
        now = time.monotonic()
        if begun >= count:
            if start is None:
                raise BenchError(f"all {count} tasks had run before the first look: the backlog is too small")
            return Watched(start, Moment(begun, last, cpu_s()))
        if start is None and begun >= count * _WARM:
            start = Moment(begun, now, cpu_s())
        if begun != seen:
            seen, changed_at = begun, now
        elif now - changed_at > _STILL_S:
            raise BenchError(f"only {begun} of {count} tasks have run, and none in the last {_STILL_S:g} s")
