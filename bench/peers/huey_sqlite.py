"""huey on a SQLite file, as durable as celeriac's embedded store."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from bench.peers.base import PROJECT, Peer, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["PEER"]


@contextlib.contextmanager
def _file(folder: Path) -> Iterator[Mapping[str, str]]:
    yield {"BENCH_SQLITE": str(folder / "huey.db")}


PEER = Peer(
    name="huey-sqlite",
    title="huey, SQLite",
    settings="`SqliteHuey(fsync=True)`: every commit synced; 2 worker processes",
    guarantee="at most once: lost with its worker",
    environment=PROJECT / ".peers" / "huey",
    packages=("huey",),
    tasks="huey_tasks",
    store=_file,
    rate=500,
    worker=Worker(("huey_consumer", "huey_tasks.huey", "-k", "process", "-d", "0.001", "-m", "0.01", "-w", "2", "-q")),
    left_out=frozenset({"everyday", "enqueue-many", "latency", "import", "start", "memory", "bytes", "drain-ignored"}),
)
