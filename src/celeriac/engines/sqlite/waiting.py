"""Single messages that wait, within transactions: found, taken out, hastened."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from typing import Any

from celeriac import messages
from celeriac.engines.base import Waiting
from celeriac.engines.sqlite.queries import statements
from celeriac.messages import Outgoing

__all__ = ["delayed", "hasten", "purge", "search", "take_out"]

_SQL = statements("waiting")

#: How much one read transaction looks at: meanwhile the write-ahead log cannot shrink, nor this process do anything else.
_MOST_LOOKED_AT = 2000
_MOST_BYTES = 8_000_000
#: Bounds a transaction: other writers wait meanwhile.
_MOST_PURGED = 500

Read = Callable[[], AbstractContextManager[sqlite3.Connection]]


def search(read: Read, task_ids: Collection[str]) -> Iterator[list[Waiting]]:
    """Look through what is delayed, and then through what is ready: due messages go that way."""
    wanted = frozenset(task_ids)
    for statement, place_of, start in (
        ("delayed_after", lambda row: (row[3], row[2]), (-1.0, -1)),
        ("ready_after", lambda row: row[:3], ("", -1, -1)),
    ):
        after: tuple[Any, ...] | None = start
        while after is not None:
            found, last, size, count = [], after, 0, 0
            after = None
            with read() as connection:
                for row in connection.execute(_SQL[statement], last):
                    raw = row[4]
                    if _mentions(raw, wanted) and (waiting := _waiting(*row)).message.id in wanted:
                        found.append(waiting)
                    size, count = size + len(raw), count + 1
                    if size > _MOST_BYTES or count >= _MOST_LOOKED_AT:
                        after = place_of(row)
                        break
            yield found


def _mentions(raw: bytes, wanted: frozenset[str]) -> bool:
    """Whether it is worth being decoded: for a few ids a look at the bytes is quicker by far."""
    if len(wanted) > 20:
        return True
    return any(task_id.encode("utf-8", "replace") in raw or not task_id.isascii() for task_id in wanted)


def delayed(connection: sqlite3.Connection, queue: str | None, limit: int) -> list[Waiting]:
    """What is delayed, the soonest first."""
    if queue is None:
        rows = connection.execute(_SQL["delayed"], (limit,))
    else:
        rows = connection.execute(_SQL["delayed_in"], (queue, limit))
    return [_waiting(*row) for row in rows]


def take_out(connection: sqlite3.Connection, waiting: Waiting) -> bool:
    """Delete it, wherever it waits by now; False if it does not wait any more."""
    message_id, priority = waiting.place
    if connection.execute(_SQL["is"], (message_id, waiting.raw)).fetchone() is None:
        return False
    was_delayed = (
        waiting.due is not None and connection.execute(_SQL["take_delayed"], (waiting.due, message_id)).rowcount
    )
    if not was_delayed:
        ready = (waiting.queue, priority, message_id)
        if connection.execute(_SQL["take_ready"], ready).rowcount == 0:
            return False
    connection.execute(_SQL["delete_message"], (message_id,))
    return True


def purge(connection: sqlite3.Connection, queue: str, last_id: int) -> int:
    """Delete some of what waits in the queue and has no higher id; returns how many, 0 at the end."""
    ready = connection.execute(_SQL["first_ready"], (queue, last_id, _MOST_PURGED)).fetchall()
    delayed = connection.execute(_SQL["first_delayed"], (queue, last_id, _MOST_PURGED - len(ready))).fetchall()
    connection.executemany(_SQL["take_ready"], ready)
    connection.executemany(_SQL["take_delayed"], delayed)
    connection.executemany(_SQL["delete_message"], [(row[-1],) for row in ready + delayed])
    return len(ready) + len(delayed)


def hasten(connection: sqlite3.Connection, waiting: Waiting, outgoing: Outgoing) -> bool:
    """Make it ready, at the place of its publication; False if it was not delayed any more."""
    message_id, _priority = waiting.place
    if connection.execute(_SQL["is"], (message_id, waiting.raw)).fetchone() is None:
        return False
    if connection.execute(_SQL["hasten"], (waiting.due, message_id)).rowcount == 0:
        return False
    connection.execute(_SQL["take_delayed"], (waiting.due, message_id))
    connection.execute(_SQL["rewrite"], (messages.encode(outgoing), message_id))
    return True


def _waiting(queue: str, priority: int, message_id: int, due: float | None, raw: bytes) -> Waiting:
    return Waiting(queue, messages.decode(raw), raw, due, (message_id, priority))
