"""The hand-written loop (`bench/limit/`) on a Redis of its own: no task queue, but what one can be measured by."""

from __future__ import annotations

from bench.peers.base import PROJECT, Peer, Worker
from bench.peers.redis_server import redis_store

__all__ = ["PEER"]

_LOOP = str(PROJECT / "bench" / "limit" / "loop.py")

PEER = Peer(
    name="limit",
    title="by hand",
    settings="a loop that drains what celeriac has sent: batches of 128 (16 for everyday tasks), and nothing else done",
    guarantee="at least once: leased and fenced, though nobody takes over",
    environment=PROJECT / ".venv",
    packages=("hiredis", "msgspec"),
    tasks="celeriac_tasks",
    store=redis_store,
    rate=120_000,
    worker=Worker(("python", _LOOP, "2", "128")),
    everyday=Worker(("python", _LOOP, "4", "16", "q1", "q2", "q3", "q4")),
    left_out=frozenset(
        {"enqueue", "enqueue-many", "enqueue-together", "latency", "import", "start", "memory", "bytes"}
    ),
)
