"""What lies in the store, and what its durability costs."""

from __future__ import annotations

import contextlib
import statistics
from typing import TYPE_CHECKING

from bench.limit.wire import Wire
from bench.measures.base import Figure, Measure, Scale
from bench.peers import celeriac_redis, celery_redis
from bench.tallies import watch

if TYPE_CHECKING:
    from bench.session import Session

__all__ = ["MEASURES"]

WRITERS = 4


def bytes_per_task(session: Session, scale: Scale) -> dict[str, float]:
    wire = Wire(session.redis_url)
    try:
        before = _used_bytes(wire)
        session.run("backlog", "noop", scale.queued)
        return {"bytes": (_used_bytes(wire) - before) / scale.queued}
    finally:
        wire.close()


def _used_bytes(wire: Wire) -> int:
    for line in wire.call("INFO", "memory").decode().splitlines():
        if line.startswith("used_memory:"):
            return int(line.partition(":")[2])
    raise KeyError("used_memory")


def run_by_celery(session: Session, scale: Scale) -> dict[str, float]:
    """What celeriac has queued, run by Celery's worker: how much of it, which must be all."""
    sent = session.run("backlog", "noop", scale.least_tasks)
    celery = celery_redis.PEER
    with session.worker(celery.worker, celery):
        watched = watch(session.tally().read, sent["count"], lambda: None)
        session.run("check", tell=sent)
    return {"run by Celery": watched.end.begun / sent["count"]}


def writers(session: Session, scale: Scale) -> dict[str, float]:
    with contextlib.ExitStack() as stack:
        drivers = [stack.enter_context(session.driver("calls_for", scale.writers_s)) for _ in range(WRITERS)]
        for driver in drivers:
            driver.hear()
        for driver in drivers:
            driver.tell("begin")
        took_ms = [one for driver in drivers for one in driver.hear()["took_ms"]]
    return {"writers p99": statistics.quantiles(took_ms, n=100, method="inclusive")[98]}


MEASURES = (
    Measure(
        "bytes",
        (Figure("bytes", "Redis memory per queued task", "bytes"),),
        bytes_per_task,
        "what `used_memory` grows by with {queued:,} no-op tasks",
    ),
    Measure(
        "run-by-celery",
        (Figure("run by Celery", "of these, run by a Celery worker", "of 1", more_is_better=True),),
        run_by_celery,
        "what celeriac has sent, run by Celery's worker, with a sample of the results compared",
        fits=lambda peer: peer.name == celeriac_redis.PEER.name,
    ),
    Measure(
        "writers",
        (Figure("writers p99", "`delay` of 4 processes at once on one file, p99", "ms"),),
        writers,
        "four processes that call one after the other for {writers_s:g} s",
        fits=lambda peer: peer.name.endswith("-sqlite"),
    ),
)
