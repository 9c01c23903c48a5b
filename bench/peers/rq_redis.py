"""rq on a Redis of its own."""

from __future__ import annotations

from bench.peers.base import PROJECT, Peer, Worker
from bench.peers.redis_server import redis_store

__all__ = ["PEER"]

# The pool reads its server from RQ_REDIS_URL, which the store's variables name.
_POOL = ("rq", "worker-pool", "-w", "rq.worker.SimpleWorker", "-P", ".")

PEER = Peer(
    name="rq",
    title="rq",
    settings="2 workers of a pool (4 for everyday tasks), `SimpleWorker`, which forks for no task, results for a day",
    guarantee="at least once: a job of a dead worker is found failed, or retried where it asks for that, after minutes",
    environment=PROJECT / ".peers" / "rq",
    packages=("rq", "redis", "hiredis"),
    tasks="rq_tasks",
    store=redis_store,
    rate=330,
    worker=Worker((*_POOL, "-n", "2", "--quiet", "default")),
    everyday=Worker((*_POOL, "-n", "4", "q1", "q2", "q3", "q4")),
)
