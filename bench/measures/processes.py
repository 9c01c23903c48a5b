"""What the processes themselves cost: time to be there, and memory."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from bench.measures.base import Figure, Measure, Scale
from bench.processes import pss_bytes

if TYPE_CHECKING:
    from bench.session import Session

__all__ = ["MEASURES"]

REST_S = 2.0


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
    with session.worker() as pids:
        session.run("warm")
        time.sleep(REST_S)
        found = pss_bytes(pids)
    return {} if found is None else {"memory": found / 2**20}


MEASURES = (
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
