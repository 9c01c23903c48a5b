"""How long a caller waits for one result."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from bench.measures.base import Figure, Measure, Scale

if TYPE_CHECKING:
    from bench.session import Session

__all__ = ["MEASURES"]


def latency(session: Session, scale: Scale) -> dict[str, float]:
    with session.worker(session.peer.awaited):
        took_ms = session.run("latency", scale.round_trips)["took_ms"]
    percentiles = statistics.quantiles(took_ms, n=100, method="inclusive")
    return {"latency p50": percentiles[49], "latency p99": percentiles[98]}


MEASURES = (
    Measure(
        "latency",
        (
            Figure("latency p50", "`delay().get()` at rest, median", "ms"),
            Figure("latency p99", "`delay().get()` at rest, p99", "ms"),
        ),
        latency,
        "{round_trips} calls of `delay().get()`, 10 ms of rest before each, worker warm, 2 children",
    ),
)
