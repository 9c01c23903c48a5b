"""What a call costs its caller."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from bench.measures.base import Figure, Measure, Scale

if TYPE_CHECKING:
    from bench.session import Session

__all__ = ["MEASURES"]

TOGETHER = 1_000


def enqueue(session: Session, scale: Scale) -> dict[str, float]:
    return {"enqueue": session.run("enqueue", min(scale.calls, session.peer.rate * 4))["calls_per_s"]}


def enqueue_many(session: Session, scale: Scale) -> dict[str, float]:
    return {"enqueue many": session.run("enqueue_many", scale.many_calls)["calls_per_s"]}


def enqueue_together(session: Session, _scale: Scale) -> dict[str, float]:
    return {"enqueue together": session.run("enqueue_together", TOGETHER)["calls_per_s"]}


def above_bare(session: Session, scale: Scale) -> dict[str, float]:
    took_us = session.run("above_bare", scale.calls)
    return {"above bare": statistics.median(took_us["delay"]) - statistics.median(took_us["bare"])}


MEASURES = (
    Measure(
        "enqueue",
        (Figure("enqueue", "`delay`, one by one", "calls/s", more_is_better=True),),
        enqueue,
        "up to {calls:,} calls in one process, while no worker runs",
    ),
    Measure(
        "above-bare",
        (Figure("above bare", "`delay` above a bare LPUSH of the same bytes, median", "µs"),),
        above_bare,
        "{calls:,} calls of each in turn, the LPUSH over a plain socket with hiredis",
        fits=lambda peer: peer.name == "celeriac-redis",
    ),
    Measure(
        "enqueue-many",
        (Figure("enqueue many", "many calls at once", "calls/s", more_is_better=True),),
        enqueue_many,
        "{many_calls:,} calls: `delay_many`, or the best that the peer has",
    ),
    Measure(
        "enqueue-together",
        (Figure("enqueue together", "1,000 coroutines that call at once", "calls/s", more_is_better=True),),
        enqueue_together,
        "1,000 coroutines, each of which awaits one call",
        fits=lambda peer: peer.together,
    ),
)
