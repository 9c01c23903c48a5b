"""celeriac on its embedded store, with the settings it comes with."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from bench.peers.base import PROJECT, Peer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["PEER"]


@contextlib.contextmanager
def _embedded(folder: Path) -> Iterator[Mapping[str, str]]:
    yield {"CELERIAC_HOME": str(folder / "store")}


PEER = Peer(
    name="celeriac-sqlite",
    title="celeriac, embedded",
    settings="defaults: SQLite file on disk, every commit synced; at least once",
    environment=PROJECT / ".venv",
    packages=("celeriac",),
    tasks="celeriac_tasks",
    worker=("celeriac", "-A", "celeriac_tasks", "worker", "-c", "2", "--loglevel=warning"),
    store=_embedded,
)
