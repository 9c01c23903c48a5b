"""celeriac on its embedded store, with the settings it comes with."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from bench.peers.base import PROJECT, Peer, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["PEER"]


@contextlib.contextmanager
def _embedded(folder: Path) -> Iterator[Mapping[str, str]]:
    yield {"CELERIAC_HOME": str(folder / "store")}


_WORKER = ("celeriac", "-A", "celeriac_tasks", "worker")

PEER = Peer(
    name="celeriac-sqlite",
    title="celeriac, embedded",
    settings="defaults: SQLite file on disk, every commit synced",
    guarantee="at least once, also through a power cut: leased, and run again at once when its worker dies",
    environment=PROJECT / ".venv",
    packages=("celeriac",),
    tasks="celeriac_tasks",
    store=_embedded,
    rate=25_000,
    worker=Worker((*_WORKER, "-c", "2", "--loglevel=warning")),
    everyday=Worker((*_WORKER, "-c", "4", "--loglevel=info", "-Q", "q1,q2,q3,q4")),
    naps=Worker((*_WORKER, "-P", "asyncio", "-c", "1000", "--loglevel=warning")),
    together=True,
    left_out=frozenset({"import", "bytes"}),
)
