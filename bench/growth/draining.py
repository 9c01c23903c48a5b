"""How fast and at what cost a worker gets through tasks: read from the times that stand in their results."""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bench.growth.cpu import CpuClock
from bench.growth.place import Place, Worker
from bench.processes import BenchError
from celeriac import AsyncResult

__all__ = ["Drained", "follow"]

_TIMEOUT_S = 300.0
_READ_TOGETHER = 1000
#: The first and last tasks are left out: children begin and end at different times.
_MARGIN = 0.05
_WINDOWS = 3


@dataclass(frozen=True)
class Drained:
    """What draining cost; the spread is that of equal parts of the run."""

    tasks_per_s: float
    lowest_per_s: float
    highest_per_s: float
    worker_us: float
    """CPU of the worker's processes for one task."""
    server_us: float
    """CPU of the store's process for one task."""

    def as_row(self) -> dict[str, float]:
        return {
            "tasks/s": self.tasks_per_s,
            "lowest": self.lowest_per_s,
            "highest": self.highest_per_s,
            "worker µs": self.worker_us,
            "server µs": self.server_us,
        }


def follow(place: Place, worker: Worker, clock: CpuClock, sent: Sequence[AsyncResult[object]]) -> Drained:
    """Wait until these tasks are done, and say how it went. `clock` has run since before, for `worker` and `server`."""
    # Not all at once: who waits costs the server. Those that are not done with the last are, a moment later.
    sent[-1].get(timeout=_TIMEOUT_S)
    ended = _times_done(place, sent)
    time.sleep(0.1)  # the clock looks once more
    margin = int(len(ended) * _MARGIN)
    edges = [margin + (len(ended) - 1 - 2 * margin) * number // _WINDOWS for number in range(_WINDOWS + 1)]
    rates = [(last - first) / max(1e-6, ended[last] - ended[first]) for first, last in itertools.pairwise(edges)]
    first, last = edges[0], edges[-1]
    count, since, until = last - first, ended[first], ended[last]
    return Drained(
        statistics.median(rates),
        min(rates),
        max(rates),
        clock.used_s("worker", since, until) / count * 1e6,
        clock.used_s("server", since, until) / count * 1e6,
    )


def _times_done(place: Place, sent: Sequence[AsyncResult[object]]) -> list[float]:
    """When each has ended, in order of time."""
    deadline = time.monotonic() + _TIMEOUT_S
    missing, ended = [handle.id for handle in sent], []
    while missing:
        left = []
        for start in range(0, len(missing), _READ_TOGETHER):
            some = missing[start : start + _READ_TOGETHER]
            found = place.app.results.get(some)
            ended += [datetime.fromisoformat(json.loads(raw)["date_done"]).timestamp() for raw in found.values()]
            left += [task_id for task_id in some if task_id not in found]
        missing = left
        if missing and time.monotonic() > deadline:
            raise BenchError(f"{len(missing)} of {len(sent)} tasks were not done in time")
        if missing:
            time.sleep(0.05)
    return sorted(ended)
