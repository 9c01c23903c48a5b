"""Dramatiq on a Redis of its own."""

from __future__ import annotations

from bench.peers.base import PROJECT, Peer, Worker
from bench.peers.redis_server import redis_store

__all__ = ["PEER"]

_PREFETCH = {"dramatiq_queue_prefetch": "128"}

PEER = Peer(
    name="dramatiq",
    title="Dramatiq",
    settings=(
        "2 processes of 8 threads (4 of one for everyday tasks), `dramatiq_queue_prefetch=128`, JSON, results in "
        "the same Redis"
    ),
    guarantee="at least once: requeued when its worker has not been heard of for a minute",
    environment=PROJECT / ".peers" / "dramatiq",
    packages=("dramatiq", "redis", "hiredis"),
    tasks="dramatiq_tasks",
    store=redis_store,
    rate=4_200,
    worker=Worker(("dramatiq", "dramatiq_tasks", "--processes", "2", "--threads", "8"), _PREFETCH),
    everyday=Worker(("dramatiq", "dramatiq_tasks", "--processes", "4", "--threads", "1"), _PREFETCH),
)
