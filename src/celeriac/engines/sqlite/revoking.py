"""What must not run, within transactions: the marks, and who holds something marked."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Sequence

from celeriac import messages
from celeriac.engines.base import Revocation, Revoked, RevokedLease
from celeriac.engines.sqlite.queries import statements

__all__ = ["among", "any_marks", "expire", "held", "revocations", "revoke", "unrevoke"]

_SQL = statements("revoke")

_MOST_EXPIRED = 1000


def revoke(connection: sqlite3.Connection, revocations: Sequence[Revocation]) -> None:
    """Mark tasks."""
    expire(connection, _MOST_EXPIRED)
    connection.executemany(_SQL["revoke"], [(one.task_id, one.expires, one.signal) for one in revocations])
    connection.execute(_SQL["raise_version"])


def unrevoke(connection: sqlite3.Connection, task_ids: Collection[str]) -> int:
    """Take marks away; returns how many there were."""
    return connection.executemany(_SQL["unrevoke"], [(task_id,) for task_id in task_ids]).rowcount


def revocations(connection: sqlite3.Connection, limit: int) -> list[Revocation]:
    """The marks, the first to expire first."""
    return [Revocation(*row) for row in connection.execute(_SQL["revocations"], (time.time(), limit))]


def expire(connection: sqlite3.Connection, most: int) -> int:
    """Delete marks whose time is over, within a transaction; returns how many."""
    return connection.execute(_SQL["expire"], (time.time(), most)).rowcount


def any_marks(connection: sqlite3.Connection) -> bool:
    """Whether anything is marked: mostly nothing is, and nothing need be looked for."""
    return connection.execute(_SQL["any"]).fetchone() is not None


def among(connection: sqlite3.Connection, task_ids: Sequence[str | None]) -> frozenset[str]:
    """Which of these are marked."""
    now = time.time()
    return frozenset(
        task_id
        for task_id in task_ids
        if task_id is not None and connection.execute(_SQL["find"], (task_id, now)).fetchone() is not None
    )


def held(connection: sqlite3.Connection, node_id: str, since: int) -> Revoked:
    """What the node holds of what is marked."""
    (version,) = connection.execute(_SQL["version"]).fetchone()
    if version == since or not any_marks(connection):
        return Revoked(version)
    now, leases = time.time(), []
    for child, token, queue, raw in connection.execute(_SQL["held"], (node_id,)).fetchall():
        message = messages.decode(raw)
        mark = connection.execute(_SQL["find"], (message.id, now)).fetchone()
        if mark is not None:
            leases.append(RevokedLease(child, token, queue, message, mark[0]))
    return Revoked(version, tuple(leases))
