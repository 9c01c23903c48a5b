"""What is measured: one module per peer, each with a `PEER`."""

from __future__ import annotations

from bench.peers import celeriac_sqlite, celery_redis

__all__ = ["PEERS"]

# The first is the one that the others are compared with.
PEERS = {peer.name: peer for peer in (celeriac_sqlite.PEER, celery_redis.PEER)}
