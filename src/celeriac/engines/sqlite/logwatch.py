"""A word of warning while the write-ahead log grows without end, because somebody reads on in the past."""

from __future__ import annotations

import logging

from celeriac.engines.sqlite.database import USUAL_LOG_BYTES, Database

__all__ = ["LogWatch"]

LONG_BYTES = 2 * USUAL_LOG_BYTES

logger = logging.getLogger("celeriac.sqlite")


class LogWatch:
    """Says once that the log is long, and once that it is not any more."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._is_long = False

    def look(self) -> None:
        """To be called now and then."""
        size = self._database.log_bytes()
        if size > LONG_BYTES and not self._is_long:
            logger.warning(
                "%s-wal has grown to %d MB, as some program has had the store open in one transaction for long: a forgotten "
                "sqlite3 shell, a database browser, a backup. Close it; the disk fills up otherwise",
                self._database,
                size // 1_000_000,
            )
        elif size <= LONG_BYTES and self._is_long:
            logger.warning("%s-wal is no longer than usual again", self._database)
        self._is_long = size > LONG_BYTES
