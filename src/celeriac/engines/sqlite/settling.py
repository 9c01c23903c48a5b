"""Applying commits, within a transaction. What many of them do is done for all at once."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

from celeriac.engines.base import Ack, Bury, Commit, Keep, Owner, Record, Requeue
from celeriac.engines.sqlite import letters, results
from celeriac.engines.sqlite.adding import Row, add, prepared
from celeriac.engines.sqlite.queries import statements

__all__ = ["Settlement"]

_PUBLISH = statements("publish")
_CLAIM = statements("claim")
_SETTLE = statements("settle")

#: Of a lease: message, queue, priority, deliveries, begun, published.
_Held = tuple[int, str, int, int, int, float]


class Settlement:
    """One exchange's commits. Made before the transaction, and applied within it."""

    def __init__(self, owner: Owner, commits: Sequence[Commit]) -> None:
        self._owner = owner
        self._commits = commits
        self._messages = [prepared(commit.messages) if commit.messages else () for commit in commits]
        #: Of those that were applied.
        self.records: list[Record] = []

    def apply(self, connection: sqlite3.Connection, came: dict[str, int]) -> tuple[bool, ...]:
        """For each whether it was applied; counts in `came` what came to the queues."""
        if not self._commits:
            return ()
        tokens = [commit.token for commit in self._commits]
        owner = (self._owner.node, self._owner.child)
        held: dict[int, _Held] = {
            token: row for token, *row in connection.execute(_SETTLE["leases"], (str(tokens), *owner))
        }
        applied: list[bool] = []
        ended: list[int] = []
        deleted: list[int] = []
        rows: list[Row] = []
        for commit, follows in zip(self._commits, self._messages, strict=True):
            lease = held.get(commit.token)
            applied.append(lease is not None)
            if lease is None:
                continue
            if not isinstance(commit.settle, Keep):
                ended.append(commit.token)
                del held[commit.token]  # a second commit of it is refused
            if isinstance(commit.settle, Ack):
                deleted.append(lease[0])
            else:
                _settle_otherwise(connection, commit, lease, deleted, came)
            if commit.record is not None:
                self.records.append(commit.record)
            rows += follows
        connection.execute(_SETTLE["end_leases"], (str(ended),))
        connection.execute(_SETTLE["delete_messages"], (str(deleted),))
        results.store_records(connection, self.records)
        add(connection, rows, came)
        return tuple(applied)


def _settle_otherwise(
    connection: sqlite3.Connection, commit: Commit, lease: _Held, deleted: list[int], came: dict[str, int]
) -> None:
    message_id, queue, priority, deliveries, begun, published = lease
    match commit.settle:
        case Keep(begun=True):
            connection.execute(_SETTLE["begin"], (commit.token,))
        case Requeue(delay_s, counted, past):
            if past is not None:
                connection.execute(_SETTLE["tell"], (message_id, past.encode()))
            so_far = deliveries if counted else deliveries - 1
            if delay_s > 0:
                due = time.time() + delay_s
                connection.execute(_PUBLISH["delayed"], (due, message_id, queue, priority, so_far, begun, published))
            else:
                connection.execute(_PUBLISH["ready"], (queue, priority, message_id, so_far, begun, published))
            came[queue] = came.get(queue, 0) + 1
        case Bury(reason, detail):
            (raw,) = connection.execute(_CLAIM["raw"], (message_id,)).fetchone()
            letters.bury(connection, queue, raw, reason, detail, deliveries)
            deleted.append(message_id)
