"""Lending messages out, within a transaction."""

from __future__ import annotations

import heapq
import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from celeriac import messages
from celeriac.crashpoints import reach
from celeriac.engines.base import Lease, Owner
from celeriac.engines.sqlite import revoking
from celeriac.engines.sqlite.queries import statements
from celeriac.past import NO_PAST, Past

__all__ = ["Taken", "promote", "reserve_tokens", "take"]

_PUBLISH = statements("publish")
_CLAIM = statements("claim")

#: Bounds on what one transaction does, so that other writers wait milliseconds and not seconds.
_MOST_PROMOTED = 500
_MOST_CLAIMED_BYTES = 8_000_000
_FEW = 4

#: Priority, id, queue, deliveries, whether begun, when published.
_Ready = tuple[int, int, str, int, int, float]


class Taken(NamedTuple):
    """A lease whose message nobody has read yet: that is done after the transaction."""

    token: int
    queue: str
    raw: bytes
    deliveries: int
    begun: bool
    past: Past
    revoked: bool = False

    def lease(self) -> Lease:
        """With the message read."""
        message = messages.decode(self.raw)
        return Lease(self.token, self.queue, message, self.deliveries, self.begun, None, self.past, self.revoked)


def promote(connection: sqlite3.Connection, now: float) -> None:
    """Delayed messages whose time has come go to their place in the queue: the place of their publication."""
    for due, message_id, queue, priority, deliveries, begun, published in connection.execute(
        _CLAIM["due"], (now, _MOST_PROMOTED)
    ).fetchall():
        connection.execute(_CLAIM["promote"], (due, message_id))
        connection.execute(_PUBLISH["ready"], (queue, priority, message_id, deliveries, begun, published))
        reach("sqlite-promoted")


def take(connection: sqlite3.Connection, owner: Owner, queues: Sequence[str], limit: int) -> list[Taken]:
    """Lend the next messages: lowest priority number first, then oldest, over all queues."""
    # Of each queue no more is read than its share, at first: else a claim would read a whole batch of every queue.
    share = max(_FEW, limit // max(1, len(queues)))
    heads = heapq.merge(*(_head(connection, queue, min(limit, share)) for queue in queues))
    chosen = list(_without_suspects(itertools.islice(heads, limit)))
    if not chosen:
        return []
    raws = _first_raws(connection, [message_id for _, message_id, *_ in chosen])
    del chosen[len(raws) :]
    first = reserve_tokens(connection, len(chosen))
    connection.executemany(
        _CLAIM["take"], [(queue, priority, message_id) for priority, message_id, queue, *_ in chosen]
    )
    connection.executemany(
        _CLAIM["lend"],
        [
            (token, message_id, queue, priority, deliveries + 1, begun, published, owner.node, owner.child)
            for token, (priority, message_id, queue, deliveries, begun, published) in enumerate(chosen, first)
        ],
    )
    (any_past,) = connection.execute(_CLAIM["any_past"]).fetchone()
    taken = [
        Taken(token, queue, raw, deliveries + 1, bool(begun), _past(connection, message_id) if any_past else NO_PAST)
        for token, raw, (_, message_id, queue, deliveries, begun, _) in zip(
            itertools.count(first), raws, chosen, strict=False
        )
    ]
    if not revoking.any_marks(connection):
        return taken
    task_ids = [messages.decode(one.raw).id for one in taken]
    marked = revoking.among(connection, task_ids)
    return [one._replace(revoked=task_id in marked) for one, task_id in zip(taken, task_ids, strict=True)]


def _first_raws(connection: sqlite3.Connection, message_ids: list[int]) -> list[bytes]:
    """The bytes of as many of the messages, from the first on, as may be lent at once."""
    raws: list[bytes] = []
    size = 0
    for (raw,) in connection.execute(_CLAIM["raws"], (str(message_ids),)):
        size += len(raw)
        if raws and size > _MOST_CLAIMED_BYTES:
            break
        raws.append(raw)
    return raws


def _head(connection: sqlite3.Connection, queue: str, together: int) -> Iterator[_Ready]:
    """The messages of a queue in their order: so many are read, and twice as many whenever more are wanted."""
    rows = connection.execute(_CLAIM["next"], (queue, together)).fetchall()
    while rows:
        for priority, message_id, *rest in rows:
            yield priority, message_id, queue, *rest
        if len(rows) < together:
            return
        together *= 2
        priority, message_id, *_ = rows[-1]
        rows = connection.execute(_CLAIM["next_after"], (queue, priority, message_id, together)).fetchall()


def _past(connection: sqlite3.Connection, message_id: int) -> Past:
    row = connection.execute(_CLAIM["past"], (message_id,)).fetchone()
    return NO_PAST if row is None else Past.decode(row[0])


def reserve_tokens(connection: sqlite3.Connection, count: int) -> int:
    """Tokens that nobody has had and nobody else will have; returns the first."""
    connection.execute(_CLAIM["tokens"], (count,))
    (last,) = connection.execute(_CLAIM["last_token"]).fetchone()
    return int(last) - count + 1


def _without_suspects(
    chosen: Iterable[_Ready],
) -> Iterable[_Ready]:
    """A message whose run ended in a crash is lent alone, so that it takes no innocent one along."""
    for position, row in enumerate(chosen):
        suspect = row[3] > 0
        if suspect and position > 0:
            return
        yield row
        if suspect:
            return
