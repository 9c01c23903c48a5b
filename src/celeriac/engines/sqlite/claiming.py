"""Lending messages out, within a transaction."""

from __future__ import annotations

import heapq
import itertools
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace

from celeriac import messages
from celeriac.crashpoints import reach
from celeriac.engines.base import Lease, Owner
from celeriac.engines.sqlite import revoking
from celeriac.engines.sqlite.queries import statements
from celeriac.past import NO_PAST, Past

__all__ = ["promote", "reserve_tokens", "take"]

_PUBLISH = statements("publish")
_CLAIM = statements("claim")

#: Bounds on what one transaction does, so that other writers wait milliseconds and not seconds.
_MOST_PROMOTED = 500
_MOST_CLAIMED_BYTES = 8_000_000


def promote(connection: sqlite3.Connection, now: float) -> None:
    """Delayed messages whose time has come go to their place in the queue: the place of their publication."""
    for due, message_id, queue, priority, deliveries, begun, published in connection.execute(
        _CLAIM["due"], (now, _MOST_PROMOTED)
    ).fetchall():
        connection.execute(_CLAIM["promote"], (due, message_id))
        connection.execute(_PUBLISH["ready"], (queue, priority, message_id, deliveries, begun, published))
        reach("sqlite-promoted")


def take(connection: sqlite3.Connection, owner: Owner, queues: Sequence[str], limit: int) -> list[Lease]:
    """Lend the next messages: lowest priority number first, then oldest, over all queues."""
    heads = [
        [(priority, message_id, queue, *rest) for priority, message_id, *rest in rows]
        for queue in queues
        if (rows := connection.execute(_CLAIM["next"], (queue, limit)).fetchall())
    ]
    if not heads:
        return []
    chosen = list(_without_suspects(itertools.islice(heapq.merge(*heads), limit)))
    token = reserve_tokens(connection, len(chosen))
    (any_past,) = connection.execute(_CLAIM["any_past"]).fetchone()
    leases: list[Lease] = []
    size = 0
    for priority, message_id, queue, deliveries, begun, published in chosen:
        (raw,) = connection.execute(_CLAIM["raw"], (message_id,)).fetchone()
        size += len(raw)
        if leases and size > _MOST_CLAIMED_BYTES:
            break
        connection.execute(_CLAIM["take"], (queue, priority, message_id))
        row = (token, message_id, queue, priority, deliveries + 1, begun, published, owner.node, owner.child)
        connection.execute(_CLAIM["lend"], row)
        past = _past(connection, message_id) if any_past else NO_PAST
        leases.append(Lease(token, queue, messages.decode(raw), deliveries + 1, bool(begun), None, past))
        token += 1
    revoked = revoking.among(connection, [lease.message.id for lease in leases])
    return [replace(lease, revoked=True) if lease.message.id in revoked else lease for lease in leases]


def _past(connection: sqlite3.Connection, message_id: int) -> Past:
    row = connection.execute(_CLAIM["past"], (message_id,)).fetchone()
    return NO_PAST if row is None else Past.decode(row[0])


def reserve_tokens(connection: sqlite3.Connection, count: int) -> int:
    """Tokens that nobody has had and nobody else will have; returns the first."""
    connection.execute(_CLAIM["tokens"], (count,))
    (last,) = connection.execute(_CLAIM["last_token"]).fetchone()
    return int(last) - count + 1


def _without_suspects(
    chosen: Iterable[tuple[int, int, str, int, int, float]],
) -> Iterable[tuple[int, int, str, int, int, float]]:
    """A message whose run ended in a crash is lent alone, so that it takes no innocent one along."""
    for position, row in enumerate(chosen):
        suspect = row[3] > 0
        if suspect and position > 0:
            return
        yield row
        if suspect:
            return
