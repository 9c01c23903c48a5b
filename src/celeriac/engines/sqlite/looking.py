"""What lies in the queues, within a transaction."""

from __future__ import annotations

import sqlite3

from celeriac.engines.base import QueueState
from celeriac.engines.sqlite.queries import statements

__all__ = ["queues"]

_CLAIM = statements("claim")
_INSPECT = statements("inspect")


def queues(connection: sqlite3.Connection) -> list[QueueState]:
    """Every queue that holds anything or is paused."""
    ready = {queue: (count, oldest) for queue, count, oldest in connection.execute(_INSPECT["ready"])}
    leased: dict[str, int] = dict(connection.execute(_INSPECT["leased"]).fetchall())
    delayed: dict[str, int] = dict(connection.execute(_INSPECT["delayed"]).fetchall())
    dead: dict[str, int] = dict(connection.execute(_INSPECT["dead"]).fetchall())
    paused = {queue for (queue,) in connection.execute(_CLAIM["paused"])}
    return [
        QueueState(
            name=name,
            ready=ready.get(name, (0, None))[0],
            leased=leased.get(name, 0),
            delayed=delayed.get(name, 0),
            dead=dead.get(name, 0),
            oldest=ready.get(name, (0, None))[1],
            paused=name in paused,
        )
        for name in sorted({*ready, *leased, *delayed, *dead, *paused})
    ]
