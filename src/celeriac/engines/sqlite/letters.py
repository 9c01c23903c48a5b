"""Dead letters, within transactions."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection

from celeriac import messages
from celeriac.engines.base import DeadLetter
from celeriac.engines.sqlite.queries import statements

__all__ = ["bury", "drop", "find", "listed", "trim", "trimmed"]

_SETTLE = statements("settle")
_INSPECT = statements("inspect")

#: Above every id.
_NEWEST = 2**63 - 1
#: Bounds a transaction.
_MOST_TRIMMED = 1000


def bury(connection: sqlite3.Connection, queue: str, raw: bytes, reason: str, detail: str, deliveries: int) -> None:
    """Add a letter."""
    message = messages.decode(raw)
    connection.execute(
        _SETTLE["bury"],
        (queue, message.id, message.task, _writable(reason), _writable(detail), time.time(), deliveries, raw),
    )


def listed(connection: sqlite3.Connection, queue: str | None, limit: int, after: DeadLetter | None) -> list[DeadLetter]:
    """The newest first, those that come after one if it is given."""
    before = _NEWEST if after is None else after.id
    if queue is None:
        rows = connection.execute(_INSPECT["letters"], (before, limit)).fetchall()
    else:
        rows = connection.execute(_INSPECT["letters_of_queue"], (queue, before, limit)).fetchall()
    return [DeadLetter(*row) for row in rows]


def find(connection: sqlite3.Connection, letter_id: int) -> DeadLetter | None:
    """One letter."""
    row = connection.execute(_INSPECT["letter"], (letter_id,)).fetchone()
    return None if row is None else DeadLetter(*row)


def drop(connection: sqlite3.Connection, letter_ids: Collection[int]) -> int:
    """Delete letters; returns how many there were."""
    return connection.executemany(_INSPECT["drop_letter"], [(number,) for number in letter_ids]).rowcount


def trim(connection: sqlite3.Connection, before: float, max_size: int) -> int:
    """Delete and count some of what was buried before, or is more than so many; returns how many, 0 at the end."""
    count = connection.execute(_INSPECT["trim_by_age"], (before, _MOST_TRIMMED)).rowcount
    count += connection.execute(_INSPECT["trim_by_size"], (max_size, _MOST_TRIMMED)).rowcount
    if count:
        connection.execute(_INSPECT["count_trimmed"], (count,))
    return count


def trimmed(connection: sqlite3.Connection) -> int:
    """How many `trim` has deleted."""
    row = connection.execute(_INSPECT["trimmed"]).fetchone()
    return 0 if row is None else int(row[0])


def _writable(text: str) -> str:
    """Half characters, as undecodable file names in a traceback have, are written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
