"""The store's tables and their versions: made in an empty file, brought up to date, and recognised when others have done so.

A store says in its header which version its tables have, and in `counters` from which version on a program may use them
(`compatible_from`). An upgrade that only adds something leaves that number alone, and programs of both versions go on side
by side; one that changes what there is raises it, and older programs stop with a sentence. Every transaction looks at the
version, so it makes no difference whether a program had the store open before.
"""

from __future__ import annotations

import sqlite3

from celeriac.engines.sqlite.queries import schema, upgrade
from celeriac.exceptions import BrokerError, OperationalError, StoreTooNew

__all__ = ["VERSION", "check", "make", "recheck"]

APPLICATION_ID = 0x63656C72  # "celr"; kept in the file's header, so that a stranger's database is told apart
VERSION = 2


def check(connection: sqlite3.Connection, name: str) -> int:
    """The version of the store, 0 in an empty file; raises `BrokerError` when it is none, or none for us."""
    # In one statement: between two, another process may have made the store.
    application_id, version, tables = connection.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master) "
        "FROM pragma_application_id, pragma_user_version"
    ).fetchone()
    if application_id not in (0, APPLICATION_ID) or (application_id == 0 and tables):
        raise BrokerError(
            f"{name} is a database of something else, not a celeriac store; it was left alone. "
            "Name another file in broker_url, or move this one away"
        )
    if version > VERSION and (needed := _compatible_from(connection, version)) > VERSION:
        raise StoreTooNew(
            f"{name} was made or upgraded by a newer celeriac (schema {version}, for programs that know {needed} or more; "
            f"this one knows {VERSION}): upgrade celeriac here too. Nothing was written"
        )
    return int(version)


def make(connection: sqlite3.Connection, name: str) -> int:
    """Make the tables, or bring them up to date; returns the version. Safe when several processes do it at once.

    One transaction: if the process dies in it, the store is what it was.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = check(connection, name)  # again: someone else may have been first
        parts = [schema()] if version == 0 else [upgrade(number) for number in range(version + 1, VERSION + 1)]
        for part in parts:
            for statement in part:
                connection.execute(statement)
        if version < VERSION:
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={VERSION}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return max(version, VERSION)


def recheck(connection: sqlite3.Connection, known: int, name: str) -> int:
    """The version, within a transaction, of a store that had version `known` when we looked last; raises as `check`."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == known:
        return version
    if version < VERSION:  # a backup was restored into it
        raise OperationalError(f"{name} was replaced by an older one and has to be upgraded first; nothing was written")
    return check(connection, name)


def _compatible_from(connection: sqlite3.Connection, version: int) -> int:
    row = connection.execute("SELECT value FROM counters WHERE name = 'compatible_from'").fetchone()
    return version if row is None else int(row[0])
