"""streaq on a Redis of its own."""

from __future__ import annotations

from bench.peers.base import PROJECT, Peer, Worker
from bench.peers.redis_server import redis_store

__all__ = ["PEER"]

_WORKER = ("streaq", "run", "streaq_tasks:worker")

PEER = Peer(
    name="streaq",
    title="streaq",
    settings="2 processes (4 for everyday tasks), uvloop, JSON, concurrency 50 (1 for everyday tasks, 1,000 for sleeps)",
    guarantee="at least once: run again when its worker has been silent for a minute",
    environment=PROJECT / ".peers" / "streaq",
    packages=("streaq", "coredis", "uvloop"),
    tasks="streaq_tasks",
    store=redis_store,
    rate=1400,
    worker=Worker((*_WORKER, "--workers", "2")),
    everyday=Worker((*_WORKER, "--workers", "4"), {"BENCH_CONCURRENCY": "1"}),
    naps=Worker(_WORKER, {"BENCH_CONCURRENCY": "1000"}),
    together=True,
)
