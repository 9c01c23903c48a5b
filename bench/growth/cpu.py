"""CPU time of other processes while something runs, so that it can be said what a stretch of that time has cost."""

from __future__ import annotations

import bisect
import threading
import time
from collections.abc import Sequence
from typing import Self

from bench.processes import BenchError, cpu_s

__all__ = ["CpuClock", "used_s"]

_LOOK_S = 0.05


def used_s(pids: Sequence[int]) -> float:
    """CPU seconds that these processes have used by now; raises `BenchError` where the system does not tell."""
    used = cpu_s(pids)
    if used is None:
        raise BenchError("this system does not tell how much processor time a process has used (no /proc)")
    return used


class CpuClock:
    """Looks at groups of processes twenty times a second while the block runs."""

    def __init__(self, **groups: Sequence[int]) -> None:
        self._groups = groups
        self._times: list[float] = []
        self._used: dict[str, list[float]] = {name: [] for name in groups}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK_S):
            self._look()

    def _look(self) -> None:
        self._times.append(time.time())
        for name, pids in self._groups.items():
            self._used[name].append(used_s(pids))

    def used_s(self, name: str, since: float, until: float) -> float:
        """CPU seconds of a group between two times (seconds since 1970)."""
        return self._at(name, until) - self._at(name, since)

    def _at(self, name: str, moment: float) -> float:
        after = bisect.bisect_left(self._times, moment)
        used = self._used[name]
        if after == 0:
            return used[0]
        if after == len(used):
            return used[-1]
        before = after - 1
        share = (moment - self._times[before]) / (self._times[after] - self._times[before])
        return used[before] + share * (used[after] - used[before])
