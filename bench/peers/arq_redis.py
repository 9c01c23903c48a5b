"""arq on a Redis of its own."""

from __future__ import annotations

from bench.peers.base import PROJECT, Peer, Worker
from bench.peers.redis_server import redis_store

__all__ = ["PEER"]

PEER = Peer(
    name="arq",
    title="arq",
    settings=(
        "2 processes, uvloop, JSON, `max_jobs=100` (2 for everyday tasks, 1,000 for sleeps), `poll_delay` of 5 ms"
    ),
    guarantee="at least once: run again when its time limit is over",
    environment=PROJECT / ".peers" / "arq",
    packages=("arq", "redis", "hiredis", "uvloop"),
    tasks="arq_tasks",
    store=redis_store,
    rate=1000,
    worker=Worker(("arq", "arq_tasks.WorkerSettings"), copies=2),
    everyday=Worker(("arq", "arq_tasks.WorkerSettings"), {"BENCH_CONCURRENCY": "2"}, copies=2),
    naps=Worker(("arq", "arq_tasks.WorkerSettings"), {"BENCH_CONCURRENCY": "1000"}),
    together=True,
)
