"""Celery on a Redis of its own, set up for speed."""

from __future__ import annotations

from bench.peers.base import PROJECT, Peer
from bench.peers.redis_server import redis_store

__all__ = ["PEER"]


_QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")

PEER = Peer(
    name="celery-redis",
    title="Celery, Redis",
    settings=(
        "prefork, JSON, `worker_prefetch_multiplier = 64`, acknowledged early (its default), results in the same Redis, "
        "no gossip, mingle or heartbeat; Redis on loopback and without persistence, its memory not counted"
    ),
    environment=PROJECT / ".peers" / "celery",
    packages=("celery", "kombu", "redis"),
    tasks="celery_redis",
    worker=("celery", "-A", "celery_redis", "worker", "-c", "2", "--loglevel=warning", *_QUIET),
    store=redis_store,
)
