"""Living beside Celery on one database: what its dead workers leave behind.

Formats: kombu 5.7, kombu/transport/redis.py. A Celery worker keeps what it has taken in the hash `unacked` (delivery tag ->
JSON [envelope, exchange, routing key]) and the time it took it in `unacked_index`. When that is longer ago than the
visibility timeout the message is put back; Celery's workers do this for each other, and we do it for them too.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec

from celeriac.engines.redis.client import Client
from celeriac.engines.redis.scripts import FIRST_BLOB

__all__ = ["sweep"]

_MOST_SWEPT = 100


def sweep(client: Client) -> int:
    """Put back what Celery workers have held unacknowledged for longer than the visibility timeout; returns how many."""
    prefix = client.address.key_prefix
    before = time.time() - client.address.visibility_timeout_s
    tags = client.call("ZRANGEBYSCORE", f"{prefix}unacked_index", "-inf", before, "LIMIT", 0, _MOST_SWEPT)
    swept = 0
    for tag in tags:
        packed = client.call("HGET", f"{prefix}unacked", tag)
        back = _restored(packed) if packed is not None else None
        if back is None:
            client.call("ZREM", f"{prefix}unacked_index", tag)
            continue
        queue, step, raw = back
        swept += client.script("restore", tag.decode(), queue, step, FIRST_BLOB, blobs=[raw])
    return swept


def _restored(packed: bytes) -> tuple[str, int, bytes] | None:
    """The queue, priority and envelope, marked as redelivered as Celery marks it."""
    try:
        envelope, _exchange, routing_key = msgspec.json.decode(packed)
        properties: dict[str, Any] = envelope["properties"]
        envelope["headers"]["redelivered"] = True
        properties.setdefault("delivery_info", {})["redelivered"] = True
        priority = properties.get("priority") or 0
        return str(routing_key), int(priority), msgspec.json.encode(envelope)
    except (ValueError, TypeError, KeyError, RecursionError, msgspec.DecodeError):
        return None
