"""The embedded engine: broker and results in one SQLite file, for the processes of one machine.

Durable, and fast enough for most (ARCHITECTURE.md has figures); nothing to install or run. `:memory:` serves one process.
"""

from __future__ import annotations

from celeriac.engines.base import EngineOptions
from celeriac.engines.sqlite.broker import SQLiteBroker
from celeriac.engines.sqlite.database import Database
from celeriac.engines.sqlite.location import parse
from celeriac.engines.sqlite.results import SQLiteResults

__all__ = ["SQLiteBroker", "SQLiteResults", "open_broker", "open_results"]


def open_broker(url: str, options: EngineOptions) -> SQLiteBroker:
    """The broker in the file that `url` names."""
    return SQLiteBroker(_database(url, options))


def open_results(url: str, options: EngineOptions) -> SQLiteResults:
    """The result store in the file that `url` names."""
    return SQLiteResults(_database(url, options))


def _database(url: str, options: EngineOptions) -> Database:
    return Database(parse(url, options.folder, options.options), options.timeout_s)
