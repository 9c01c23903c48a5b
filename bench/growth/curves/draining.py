"""Getting through tasks, while something else grows."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

from bench.growth.cpu import CpuClock, used_s
from bench.growth.curve import Curve, Panel, Row, Scale
from bench.growth.draining import Drained, follow
from bench.growth.place import STORES, Place, Worker, new_place
from celeriac import AsyncResult

__all__ = ["CURVES"]

_IDLE_S = 3.0

SPEED = Panel("tasks/s", "tasks per second", spread=True)
COST = Panel("worker µs", "worker: CPU for one task, µs")
SERVER_COST = Panel("server µs", "Redis: CPU for one task, µs")


def drain(place: Place, worker: Worker, count: int, *queues: str, behind: int = 0) -> Drained:
    """Drain `count` tasks that lie in these queues in equal shares, with `behind` more of them behind."""
    queues = queues or (place.app.conf.task_default_queue,)
    with CpuClock(worker=worker.pids, server=place.server_pids) as clock:
        with place.paused(*queues):
            sent: list[AsyncResult[object]] = []
            for queue in queues:
                numbers = [(number,) for number in range(count // len(queues))]
                sent += place.fill("nothing", numbers, queue=queue)
            if behind:
                place.send("nothing", behind, queue=queues[0], ignore_result=True)  # nobody asks for those
        return follow(place, worker, clock, sent)


def backlog(scale: Scale) -> Iterator[Row]:
    for store, behind in itertools.product(STORES, scale.backlogs):
        with new_place(store) as place, place.worker() as worker:
            drained = drain(place, worker, scale.tasks, behind=behind)
            yield {"series": STORES[store], "x": behind, **drained.as_row()}


def finished(scale: Scale) -> Iterator[Row]:
    """With results of other tasks in the store."""
    for store, kept in itertools.product(STORES, scale.backlogs):
        with new_place(store) as place, place.worker() as worker:
            place.send("nothing", kept).get(timeout=600)
            drained = drain(place, worker, scale.tasks)
            yield {"series": STORES[store], "x": kept, **drained.as_row()}


def queues(scale: Scale) -> Iterator[Row]:
    for store, count in itertools.product(STORES, scale.queues):
        names = [f"queue-{number}" for number in range(count)]
        with new_place(store) as place, place.worker(queues=names) as worker:
            idle = _idle_load(place, worker)
            for series, busy in (("all busy", names), ("one busy", names[:1])):
                drained = drain(place, worker, scale.tasks, *busy)
                yield {"series": f"{STORES[store]}, {series}", "x": count, **drained.as_row(), "idle %": idle}


def _idle_load(place: Place, worker: Worker) -> float:
    """Per cent of a core that a worker at rest and its store use."""
    pids = (*worker.pids, *place.server_pids)
    time.sleep(1.5)
    before = used_s(pids)
    time.sleep(_IDLE_S)
    return (used_s(pids) - before) / _IDLE_S * 100


def payload(scale: Scale) -> Iterator[Row]:
    for store, size in itertools.product(STORES, scale.payloads):
        # At most 200 MB lie in the store at once.
        count = max(100, min(scale.tasks, 200_000_000 // size))
        with new_place(store) as place, place.worker() as worker:
            queue = place.app.conf.task_default_queue
            with CpuClock(worker=worker.pids, server=place.server_pids) as clock:
                with place.paused(queue):
                    sent = _filled(place, size, count)
                drained = follow(place, worker, clock, sent)
            yield {"series": STORES[store], "x": size, **drained.as_row(), "MB/s": drained.tasks_per_s * size / 1e6}


def _filled(place: Place, size: int, count: int) -> list[AsyncResult[object]]:
    calls = (("x" * size,) for _ in range(count))
    return list(place.fill("swallow", calls, together=max(1, min(10_000, 10_000_000 // size))))


def children(scale: Scale) -> Iterator[Row]:
    for store, count in itertools.product(STORES, scale.children):
        with new_place(store) as place, place.worker(children=count) as worker:
            yield {"series": f"{STORES[store]}, no-op", "x": count, **drain(place, worker, scale.tasks).as_row()}
            naps = max(100, scale.tasks // 50) * count
            with CpuClock(worker=worker.pids, server=place.server_pids) as clock:
                with place.paused(place.app.conf.task_default_queue):
                    sent = list(place.fill("nap", [(5,)] * naps))
                drained = follow(place, worker, clock, sent)
            yield {"series": f"{STORES[store]}, 5 ms of waiting", "x": count, **drained.as_row()}


CURVES = (
    Curve(
        "backlog",
        "Draining in front of a backlog",
        "tasks that wait behind those measured",
        "{tasks:,} no-op tasks with results in front of the others, two children; figures over the middle 90 % of them",
        (SPEED, COST, SERVER_COST),
        backlog,
    ),
    Curve(
        "finished",
        "Draining beside kept results",
        "results in the store",
        "{tasks:,} no-op tasks with results, two children, while the results of others are kept",
        (SPEED, COST, SERVER_COST),
        finished,
    ),
    Curve(
        "queues",
        "Queues of one worker",
        "queues",
        "{tasks:,} no-op tasks with results, in equal shares in all queues or all in one, two children; "
        "the load at rest is that of worker and Redis together",
        (SPEED, COST, SERVER_COST, Panel("idle %", "load at rest, % of a core")),
        queues,
    ),
    Curve(
        "payload",
        "Size of the arguments",
        "bytes",
        "tasks with one string of that size, 200 MB of them at most, two children",
        (SPEED, COST, SERVER_COST, Panel("MB/s", "MB per second")),
        payload,
    ),
    Curve(
        "children",
        "Children",
        "children",
        "{tasks:,} no-op tasks with results; and tasks that wait 5 ms without using the processor",
        (SPEED, COST, SERVER_COST),
        children,
        log_x=False,
    ),
)
