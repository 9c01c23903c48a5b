"""celeriac on a Redis of its own, with the settings it comes with."""

from __future__ import annotations

from bench.peers.base import PROJECT, Peer, Worker
from bench.peers.redis_server import redis_store

__all__ = ["PEER"]

_WORKER = ("celeriac", "-A", "celeriac_tasks", "worker")

PEER = Peer(
    name="celeriac-redis",
    title="celeriac, Redis",
    settings="defaults: results in the same Redis as the queues",
    guarantee="at least once: leased, and run again within seconds of its worker's death",
    environment=PROJECT / ".venv",
    packages=("celeriac",),
    tasks="celeriac_tasks",
    store=redis_store,
    rate=60_000,
    worker=Worker((*_WORKER, "-c", "2", "--loglevel=warning")),
    everyday=Worker((*_WORKER, "-c", "4", "--loglevel=info", "-Q", "q1,q2,q3,q4")),
    naps=Worker((*_WORKER, "-P", "asyncio", "-c", "1000", "--loglevel=warning")),
    together=True,
)
