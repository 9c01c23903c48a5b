"""What is measured: each measure makes one sample of its figures in a fresh session."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.processes import pss_bytes
from bench.session import Session

__all__ = ["FULL", "MEASURES", "QUICK", "Figure", "Measure", "Scale"]

REST_S = 2.0


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    calls: int
    tasks: int
    warm_tasks: int
    round_trips: int
    imports: int


FULL = Scale(calls=2_000, tasks=5_000, warm_tasks=200, round_trips=200, imports=7)
QUICK = Scale(calls=200, tasks=500, warm_tasks=50, round_trips=40, imports=3)


@dataclass(frozen=True)
class Figure:
    """One row of the table."""

    name: str
    title: str
    unit: str
    more_is_better: bool = False


@dataclass(frozen=True)
class Measure:
    """Figures that are taken together."""

    name: str
    figures: tuple[Figure, ...]
    take: Callable[[Session, Scale], dict[str, float]]
    how: str


def enqueue(session: Session, scale: Scale) -> dict[str, float]:
    return {"enqueue": session.run("enqueue", scale.calls)["calls_per_s"]}


def enqueue_many(session: Session, scale: Scale) -> dict[str, float]:
    return {"enqueue many": session.run("enqueue_many", 2 * scale.tasks)["calls_per_s"]}


def drain(session: Session, scale: Scale) -> dict[str, float]:
    ids = session.run("backlog", scale.warm_tasks + scale.tasks)["ids"]
    with session.driver("drain", scale.warm_tasks) as driver:
        driver.tell(ids)
        driver.hear()
        with session.worker():
            return {"drain": driver.hear()["tasks_per_s"]}


def latency(session: Session, scale: Scale) -> dict[str, float]:
    with session.worker():
        took_ms = session.run("latency", scale.round_trips)["took_ms"]
    percentiles = statistics.quantiles(took_ms, n=100, method="inclusive")
    return {"latency p50": percentiles[49], "latency p99": percentiles[98]}


def import_time(session: Session, scale: Scale) -> dict[str, float]:
    """Python with the app module against Python without, in turn."""
    bare, full = "pass", f"import {session.peer.tasks}"
    session.python(full)  # writes the byte code and fills the page cache
    took_s: dict[str, list[float]] = {bare: [], full: []}
    for _ in range(scale.imports):
        for code, samples in took_s.items():
            started = time.perf_counter()
            session.python(code)
            samples.append(time.perf_counter() - started)
    return {"import": (statistics.median(took_s[full]) - statistics.median(took_s[bare])) * 1000}


def start(session: Session, _scale: Scale) -> dict[str, float]:
    with session.driver("first") as driver:
        driver.hear()
        started = time.monotonic()
        with session.worker():
            return {"start": driver.hear()["monotonic_s"] - started}


def memory(session: Session, _scale: Scale) -> dict[str, float]:
    with session.worker() as pid:
        session.run("warm")
        time.sleep(REST_S)
        found = pss_bytes(pid)
    return {} if found is None else {"memory": found / 2**20}


_ALL = (
    Measure(
        "enqueue",
        (Figure("enqueue", "`delay`, one by one", "calls/s", more_is_better=True),),
        enqueue,
        "{calls:,} calls of `delay` in one process, while no worker runs",
    ),
    Measure(
        "enqueue-many",
        (Figure("enqueue many", "many calls at once", "calls/s", more_is_better=True),),
        enqueue_many,
        "twice {tasks:,} calls: `delay_many`, or a loop of `delay` where there is no such thing",
    ),
    Measure(
        "drain",
        (Figure("drain", "draining no-op tasks, results stored", "tasks/s", more_is_better=True),),
        drain,
        "{tasks:,} tasks, 2 children. The backlog is sent before the worker starts; {warm_tasks} more tasks in front of it "
        "warm the worker up. The clock runs from the start of the first counted task, as the task tells, until another "
        "process sees the last result",
    ),
    Measure(
        "latency",
        (
            Figure("latency p50", "`delay().get()` at rest, median", "ms"),
            Figure("latency p99", "`delay().get()` at rest, p99", "ms"),
        ),
        latency,
        "{round_trips} calls of `delay().get()`, 10 ms of rest before each, worker warm, 2 children",
    ),
    Measure(
        "import",
        (Figure("import", "import of an app module", "ms"),),
        import_time,
        "a Python that imports the app's module above one that does nothing; medians of {imports}",
    ),
    Measure(
        "start",
        (Figure("start", "worker start to first result", "s"),),
        start,
        "from starting the worker's process until a waiting process has the result of the one task on the queue",
    ),
    Measure(
        "memory",
        (Figure("memory", "worker at rest, 2 children", "MiB"),),
        memory,
        "PSS of all the worker's processes, after 20 tasks and 2 s of rest",
    ),
)
MEASURES = {measure.name: measure for measure in _ALL}
