"""Celery on a Redis of its own, set up for speed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from bench.peers.base import PROJECT, Peer
from bench.peers.redis_server import private_redis

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["PEER"]


@contextlib.contextmanager
def _redis(folder: Path) -> Iterator[Mapping[str, str]]:
    with private_redis(folder) as url:
        yield {"BENCH_REDIS": url}


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
    store=_redis,
)
