"""huey on a Redis of its own."""

from __future__ import annotations

from bench.peers.base import PROJECT, Peer, Worker
from bench.peers.redis_server import redis_store

__all__ = ["PEER"]

_CONSUMER = ("huey_consumer", "huey_tasks.huey", "-k", "process", "-d", "0.001", "-m", "0.01")

PEER = Peer(
    name="huey",
    title="huey",
    settings="2 worker processes (4 for everyday tasks, one queue), pickle (its own), results in the same Redis",
    guarantee="at most once: lost with its worker",
    environment=PROJECT / ".peers" / "huey",
    packages=("huey", "redis", "hiredis"),
    tasks="huey_tasks",
    store=redis_store,
    rate=4_500,
    worker=Worker((*_CONSUMER, "-w", "2", "-q")),
    everyday=Worker((*_CONSUMER, "-w", "4")),
)
