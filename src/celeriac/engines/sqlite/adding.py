"""Adding messages to the store, within a transaction; what can be done before one is done before it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence

from celeriac import messages
from celeriac.engines.sqlite.queries import statements
from celeriac.messages import Outgoing

__all__ = ["Row", "add", "prepared"]

_PUBLISH = statements("publish")

#: A message as it will lie there, its queue, its priority, and when it is due.
Row = tuple[bytes, str, int, float | None]


def prepared(outgoing: Iterable[Outgoing]) -> list[Row]:
    """The messages as they will lie there. Needs no store, so that nobody waits for it."""
    return [(messages.encode(item), item.queue, item.message.priority, item.due) for item in outgoing]


def add(connection: sqlite3.Connection, rows: Sequence[Row], came: dict[str, int]) -> None:
    """Add messages; counts in `came` how many came to each queue, delayed ones too (their waiters must look again)."""
    if not rows:
        return
    now = time.time()
    (last_id,) = connection.execute(_PUBLISH["last_id"]).fetchone()
    ready, delayed = [], []
    for message_id, (_, queue, priority, due) in enumerate(rows, last_id + 1):
        if due is not None and due > now:
            delayed.append((due, message_id, queue, priority, 0, 0, now))
        else:
            ready.append((queue, priority, message_id, 0, 0, now))
        came[queue] = came.get(queue, 0) + 1
    connection.executemany(_PUBLISH["message"], enumerate((row[0] for row in rows), last_id + 1))
    if ready:
        connection.executemany(_PUBLISH["ready"], ready)
    if delayed:
        connection.executemany(_PUBLISH["delayed"], delayed)
