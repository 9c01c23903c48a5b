"""Tasks for later: delaying them, running them when they are due, and running others beside them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

from bench.growth.cpu import CpuClock, used_s
from bench.growth.curve import Curve, Panel, Row, Scale
from bench.growth.curves.draining import drain
from bench.growth.draining import follow
from bench.growth.place import STORES, new_place

__all__ = ["CURVES"]

_FAR_S = 86_400
_SOON_S = 5.0


def delayed(scale: Scale) -> Iterator[Row]:
    for store, count in itertools.product(STORES, scale.backlogs):
        series = STORES[store]
        with new_place(store) as place, place.worker() as worker:
            place.send("nothing", count, countdown=_FAR_S)
            measured = min(10_000, scale.tasks)
            calls = [(number,) for number in range(measured)]
            before, started = used_s(place.server_pids), time.perf_counter()
            place.task("nothing").delay_many(calls, countdown=_FAR_S)
            took_s = time.perf_counter() - started
            server_us = (used_s(place.server_pids) - before) / measured * 1e6
            yield {"series": f"{series}, delaying", "x": count, "tasks/s": measured / took_s, "server µs": server_us}

            beside = drain(place, worker, scale.tasks)
            yield {"series": f"{series}, running others", "x": count, **beside.as_row()}

            with CpuClock(worker=worker.pids, server=place.server_pids) as clock:
                with place.paused(place.app.conf.task_default_queue):
                    sent = list(place.fill("nothing", zip(range(scale.tasks)), countdown=_SOON_S))
                    time.sleep(_SOON_S + 0.1)
                due = follow(place, worker, clock, sent)
            yield {"series": f"{series}, running what is due", "x": count, **due.as_row()}


CURVES = (
    Curve(
        "delayed",
        "Delayed tasks",
        "other tasks that are delayed",
        "delaying 10,000 more by `delay_many` beside those that are due tomorrow; draining {tasks:,} others; "
        "draining {tasks:,} that have become due meanwhile",
        (
            Panel("tasks/s", "tasks per second", spread=True),
            Panel("worker µs", "worker: CPU for one task, µs"),
            Panel("server µs", "Redis: CPU for one task, µs"),
        ),
        delayed,
    ),
)
