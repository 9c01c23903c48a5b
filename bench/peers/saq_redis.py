"""saq on a Redis of its own."""

from __future__ import annotations

from bench.peers.base import PROJECT, Peer, Worker
from bench.peers.redis_server import redis_store

__all__ = ["PEER"]

PEER = Peer(
    name="saq",
    title="saq",
    settings="2 processes (4 for everyday tasks, of 8 at a time), uvloop, JSON, concurrency 30 (1,000 for sleeps)",
    guarantee="at least once where retries are asked for: else failed by a sweep",
    environment=PROJECT / ".peers" / "saq",
    packages=("saq", "redis", "hiredis", "uvloop"),
    tasks="saq_tasks",
    store=redis_store,
    rate=1500,
    worker=Worker(("saq", "saq_tasks.settings", "--quiet"), copies=2),
    everyday=Worker(("saq", "saq_tasks.settings"), {"BENCH_CONCURRENCY": "8"}, copies=4),
    naps=Worker(("saq", "saq_tasks.settings", "--quiet"), {"BENCH_CONCURRENCY": "1000"}),
    together=True,
)
