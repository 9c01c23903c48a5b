"""The hand-written loops (`bench/limit/`) on a Redis of their own: no task queue, but what one can be measured by."""

from __future__ import annotations

from bench.peers.base import PROJECT, Peer, Worker
from bench.peers.redis_server import redis_store

__all__ = ["PEER"]

_LOOP = str(PROJECT / "bench" / "limit" / "loop.py")
_ECHO = str(PROJECT / "bench" / "limit" / "echo.py")

PEER = Peer(
    name="limit",
    title="by hand",
    settings="a loop that drains what celeriac has sent: batches of 128 (16 for everyday tasks), and nothing else done; "
    "for `delay().get()` a push, a blocking pop, SET and PUBLISH",
    guarantee="at least once when it drains: leased and fenced, though nobody takes over; at most once for `delay().get()`",
    environment=PROJECT / ".venv",
    packages=("hiredis", "msgspec"),
    tasks="limit_tasks",
    store=redis_store,
    rate=120_000,
    worker=Worker(("python", _LOOP, "2", "128")),
    everyday=Worker(("python", _LOOP, "4", "16", "q1", "q2", "q3", "q4")),
    awaited=Worker(("python", _ECHO, "2")),
    left_out=frozenset({"enqueue", "enqueue-many", "enqueue-together", "import", "start", "memory", "bytes"}),
)
