"""saq on a Redis of its own."""

from __future__ import annotations

from bench.peers.base import PROJECT, Peer, Worker
from bench.peers.redis_server import redis_store

__all__ = ["PEER"]

PEER = Peer(
    name="saq",
    title="saq",
    settings="2 processes, uvloop, JSON, concurrency 30 (2 for everyday tasks, 1,000 for sleeps)",
    guarantee="at least once, as 3 retries are asked for: a sweep runs again what is stuck",
    environment=PROJECT / ".peers" / "saq",
    packages=("saq", "redis", "hiredis", "uvloop"),
    tasks="saq_tasks",
    store=redis_store,
    rate=1500,
    worker=Worker(("saq", "saq_tasks.settings", "--quiet"), copies=2),
    everyday=Worker(("saq", "saq_tasks.settings"), {"BENCH_CONCURRENCY": "2"}, copies=2),
    naps=Worker(("saq", "saq_tasks.settings", "--quiet"), {"BENCH_CONCURRENCY": "1000"}),
    together=True,
)
