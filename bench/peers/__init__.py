"""What is measured: one module per peer, each with a `PEER`."""

from __future__ import annotations

from bench.peers import celeriac_redis, celeriac_sqlite, celery_redis

__all__ = ["PEERS"]

# The last is the one that the others are compared with.
PEERS = {peer.name: peer for peer in (celeriac_sqlite.PEER, celeriac_redis.PEER, celery_redis.PEER)}
