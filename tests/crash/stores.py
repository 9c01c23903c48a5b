"""The stores under attack: where queues and results lie, and what may be left in them when all is done."""

from __future__ import annotations

import re
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import hiredis

from support.redis_server import RedisServer

__all__ = ["STORES", "RedisStore", "SQLiteStore", "Store", "opened"]


class Store(Protocol):
    """Queues at `broker`, results at `backend`."""

    broker: str
    backend: str

    def through(self, port: int) -> tuple[str, str]:
        """Broker and backend by way of a proxy."""

    def left(self) -> list[str]:
        """What should not be there any more when all tasks have ended and all workers have stopped."""


class SQLiteStore:
    """One file, or two."""

    #: Results and dead letters are kept for people, counters hold the last token, receipts are forgotten after a day, and
    #: who waits with a bell that is dead after the next message.
    _LASTING = frozenset({"results", "dead", "counters", "producers", "queue_waiters", "result_waiters"})

    def __init__(self, folder: Path, *, apart: bool = False) -> None:
        self._file = folder / "store.db"
        self.broker = f"sqlite:///{self._file}"
        self.backend = f"sqlite:///{folder / 'results.db'}" if apart else self.broker

    def through(self, port: int) -> tuple[str, str]:
        raise NotImplementedError("a file is not reached by a port")

    def left(self) -> list[str]:
        connection = sqlite3.connect(self._file)
        try:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            counts = {
                table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in tables
                if table not in self._LASTING and not table.startswith("sqlite_")
            }
        finally:
            connection.close()
        return [f"{count} rows in {table}" for table, count in sorted(counts.items()) if count]


class RedisStore:
    """Two databases of one server, or of two servers."""

    _LASTING = (
        r"celeriac:token",  # the last fence token: a lower one must never be given again
        r"celeriac:letter",  # the last id of a dead letter
        r"celeriac:queues",  # queues seen
        r"celeriac:producer:\w+",  # receipts, for a day
        r"celeriac:dead(:letters)?",  # dead letters, counted apart
        r"celeriac:bell:\w+|celeriac:{\w+}:rung",  # for seconds
        r"celeriac:{\w+}:waiting",  # who waited when it died: pushed down by the living, forgotten after ten minutes
    )

    def __init__(self, server: RedisServer, results: RedisServer) -> None:
        self.server = server
        self._together = results is server
        self.broker = server.url(0)
        self.backend = results.url(1)

    def through(self, port: int) -> tuple[str, str]:
        return f"redis://127.0.0.1:{port}/0", f"redis://127.0.0.1:{port}/1" if self._together else self.backend

    def keys(self, pattern: str = "*") -> list[str]:
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=10.0) as connection:
            connection.sendall(hiredis.pack_command(("KEYS", pattern)))
            reader = hiredis.Reader()
            while (keys := reader.gets()) is False:
                reader.feed(connection.recv(65536))
        return sorted(key.decode() for key in keys)

    def left(self) -> list[str]:
        return [key for key in self.keys() if not re.fullmatch("|".join(self._LASTING), key)]


STORES = ("sqlite", "sqlite-files", "redis", "redis-servers")


@contextmanager
def opened(kind: str, folder: Path) -> Iterator[Store]:
    """One of `STORES`; the plain ones settle in one step, the others in two."""
    if kind.startswith("sqlite"):
        yield SQLiteStore(folder, apart=kind == "sqlite-files")
        return
    options = ("--appendonly", "yes", "--appendfsync", "always")
    with RedisServer(folder / "redis", *options) as server:
        if kind == "redis":
            yield RedisStore(server, server)
            return
        with RedisServer(folder / "redis-results", *options) as results:
            yield RedisStore(server, results)
