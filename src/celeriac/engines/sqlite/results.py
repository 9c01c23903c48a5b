"""Result documents in the store, and waiting for them."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from celeriac.engines.base import Follower, Record
from celeriac.engines.following import follow
from celeriac.engines.sqlite.database import Database
from celeriac.engines.sqlite.doorbell import Doorbell, ring
from celeriac.engines.sqlite.queries import statements
from celeriac.exceptions import BrokerError

__all__ = ["SQLiteResults", "expire", "ring_watchers", "store_records", "watchers"]

_SQL = statements("results")
_SETTLE = statements("settle")
_HUB_WAIT_S = 60.0
_MOST_LEFT = 64


class SQLiteResults:
    """The result store of a file. One bell and one thread per process serve all its waiters."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._hub = _Hub(database)

    def describe(self) -> str:
        return str(self.database)

    def store(self, records: Sequence[Record]) -> None:
        with self.database.write() as connection:
            store_records(connection, records)
            bells = watchers(connection, [record.task_id for record in records])
        ring_watchers(self.database, bells)

    def get(self, task_ids: Collection[str]) -> dict[str, bytes]:
        now = time.time()
        found: dict[str, bytes] = {}
        with self.database.read() as connection:
            for task_id in task_ids:
                row = connection.execute(_SQL["get"], (task_id, now)).fetchone()
                if row is not None:
                    found[task_id] = row[0]
        return found

    @contextmanager
    def watch(self, task_id: str, notify: Callable[[], None]) -> Iterator[None]:
        self._hub.add(task_id, notify)
        try:
            yield
        finally:
            self._hub.remove(task_id, notify)

    def follow(self, task_id: str) -> AbstractContextManager[Follower]:
        return follow(self, task_id)

    def forget(self, task_ids: Collection[str]) -> None:
        with self.database.write() as connection:
            connection.executemany(_SQL["forget"], [(task_id,) for task_id in task_ids])

    def discard(self, task_id: str, body: bytes) -> None:
        with self.database.write() as connection:
            connection.execute(_SQL["discard"], (task_id, body))

    def sizes(self) -> dict[str, int]:
        return {"results waited for": len(self._hub)}

    def close(self) -> None:
        self._hub.close()
        self.database.close()


def store_records(connection: sqlite3.Connection, records: Sequence[Record]) -> None:
    """Write documents within a transaction."""
    now = time.time()
    connection.executemany(
        _SETTLE["store"],
        [
            (record.task_id, record.body, record.fence, None if record.ttl_s is None else now + record.ttl_s, now)
            for record in records
        ],
    )


def expire(connection: sqlite3.Connection, most: int) -> int:
    """Delete documents whose time is over, within a transaction; returns how many."""
    return connection.execute(_SQL["expire"], (time.time(), most)).rowcount


def watchers(connection: sqlite3.Connection, task_ids: Sequence[str]) -> list[tuple[str, str]]:
    """(bell, task id) of everyone who waits for one of these."""
    if not task_ids or not connection.execute(_SQL["any_watchers"]).fetchone()[0]:
        return []
    return connection.execute(_SQL["watchers"], (json.dumps(task_ids),)).fetchall()


def ring_watchers(database: Database, bells: Sequence[tuple[str, str]]) -> None:
    """Ring after the transaction, and forget those who have died waiting."""
    if not bells:
        return
    folder = database.side_folder("bells")
    gone = {bell for bell, task_id in bells if not ring(folder, bell, task_id)}
    if gone:
        with database.write(durable=False) as connection:
            connection.executemany(_SQL["forget_bell"], [(bell,) for bell in gone])


class _Hub:
    """This process's waiters for results, by task id."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._notify: dict[str, list[Callable[[], None]]] = {}
        #: Those whose row is still there, though nobody waits any more.
        self._left: set[str] = set()
        self._bell: Doorbell | None = None
        database.after_fork(self._after_fork)

    def add(self, task_id: str, notify: Callable[[], None]) -> None:
        with self._lock:
            bell = self._bell
            if bell is None:
                bell = self._bell = Doorbell(self._database.side_folder("bells"))
                threading.Thread(target=self._listen, args=(bell,), name="celeriac-results", daemon=True).start()
            self._notify.setdefault(task_id, []).append(notify)
        try:
            with self._database.write(durable=False) as connection:
                self._forget_left(connection, bell)
                connection.execute(_SQL["watch"], (task_id, bell.address))
        except BrokerError:
            with self._lock:
                waiting = self._notify[task_id]
                waiting.remove(notify)
                if not waiting:
                    del self._notify[task_id]
            raise

    def remove(self, task_id: str, notify: Callable[[], None]) -> None:
        with self._lock:
            waiting = self._notify.get(task_id, [])
            if notify in waiting:
                waiting.remove(notify)
            bell = self._bell
            if waiting or bell is None:
                return
            # The row goes along with the next one that comes, so that nobody waits for that now.
            self._notify.pop(task_id, None)
            self._left.add(task_id)
            if len(self._left) < _MOST_LEFT:
                return
        try:
            with self._database.write(durable=False) as connection:
                self._forget_left(connection, bell)
        except BrokerError:
            pass  # the rows stay until this bell is found dead; whoever waited must still get what it waited for

    def __len__(self) -> int:
        """How many results are waited for."""
        return len(self._notify)

    def _forget_left(self, connection: sqlite3.Connection, bell: Doorbell) -> None:
        with self._lock:
            # Within the transaction: who comes back from here on writes its row after it.
            gone = [(task_id, bell.address) for task_id in self._left if not self._notify.get(task_id)]
            self._left.clear()
        connection.executemany(_SQL["unwatch"], gone)

    def close(self) -> None:
        with self._lock:
            bell, self._bell = self._bell, None
            self._notify.clear()
            self._left.clear()  # with the bell
        if bell is not None:
            bell.wake()

    def _after_fork(self) -> None:
        # The thread and the waiters stayed in the parent.
        self._lock = threading.Lock()
        self._notify = {}
        self._left = set()
        bell, self._bell = self._bell, None
        if bell is not None:
            bell.abandon()

    def _listen(self, bell: Doorbell) -> None:
        try:
            while self._bell is bell:
                lines = bell.wait(_HUB_WAIT_S)
                with self._lock:
                    rung = self._notify if lines is None else [line for line in lines if line in self._notify]
                    calls = [notify for task_id in rung for notify in self._notify[task_id]]
                for notify in calls:
                    notify()
        finally:
            bell.close()
