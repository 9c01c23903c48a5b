"""Celery on a Redis of its own, set up for speed."""

from __future__ import annotations

from bench.peers.base import PROJECT, Peer, Worker
from bench.peers.redis_server import redis_store

__all__ = ["PEER"]

_WORKER = ("celery", "-A", "celery_tasks", "worker")
_QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")

PEER = Peer(
    name="celery-redis",
    title="Celery, Redis",
    settings=(
        "prefork, JSON, `worker_prefetch_multiplier = 64`, hiredis, results in the same Redis, no gossip, "
        "mingle or heartbeat"
    ),
    guarantee="acknowledged before it runs (its default): lost with its worker",
    environment=PROJECT / ".peers" / "celery",
    packages=("celery", "kombu", "redis", "hiredis"),
    tasks="celery_tasks",
    store=redis_store,
    rate=1_300,
    worker=Worker((*_WORKER, "-c", "2", "--loglevel=warning", *_QUIET)),
    everyday=Worker((*_WORKER, "-c", "4", "--loglevel=info", "-Q", "q1,q2,q3,q4", *_QUIET)),
)
