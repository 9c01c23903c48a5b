"""What is measured: one module per peer, each with a `PEER`."""

from __future__ import annotations

from bench.peers import (
    arq_redis,
    celeriac_redis,
    celeriac_sqlite,
    celery_redis,
    dramatiq_redis,
    huey_redis,
    huey_sqlite,
    limit,
    rq_redis,
    saq_redis,
    streaq_redis,
    taskiq_redis,
)

__all__ = ["OURS", "PEERS"]

_ALL = (
    celeriac_redis,
    celeriac_sqlite,
    limit,
    celery_redis,
    dramatiq_redis,
    huey_redis,
    taskiq_redis,
    saq_redis,
    arq_redis,
    streaq_redis,
    rq_redis,
    huey_sqlite,
)
PEERS = {module.PEER.name: module.PEER for module in _ALL}
#: No others': neither of them counts as a peer that is to be beaten.
OURS = frozenset({"celeriac-redis", "celeriac-sqlite", "limit"})
