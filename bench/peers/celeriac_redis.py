"""celeriac on a Redis of its own, with the settings it comes with."""

from __future__ import annotations

from bench.peers.base import PROJECT, Peer
from bench.peers.redis_server import redis_store

__all__ = ["PEER"]

PEER = Peer(
    name="celeriac-redis",
    title="celeriac, Redis",
    settings="defaults: results in the same Redis; at least once; the same Redis as Celery's",
    environment=PROJECT / ".venv",
    packages=("celeriac",),
    tasks="celeriac_tasks",
    worker=("celeriac", "-A", "celeriac_tasks", "worker", "-c", "2", "--loglevel=warning"),
    store=redis_store,
)
