"""What piles up is cleared some at a time, so that nobody else waits for one long transaction."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from celeriac.engines import open_broker
from celeriac.engines.base import EngineOptions, Receipt, Record, Revocation
from celeriac.engines.sqlite import SQLiteBroker, waiting
from celeriac.messages import Message, Outgoing


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[SQLiteBroker]:
    broker = open_broker(f"sqlite:///{tmp_path / 'store.db'}", EngineOptions(str(tmp_path)))
    assert isinstance(broker, SQLiteBroker)
    yield broker
    broker.close()


def count(broker: SQLiteBroker, table: str) -> int:
    with broker.database.read() as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def commits(broker: SQLiteBroker) -> list[str]:
    """The transactions that are committed from now on."""
    found: list[str] = []
    with broker.database.read() as connection:
        connection.set_trace_callback(lambda sql: found.append(sql) if sql == "COMMIT" else None)
    return found


def test_revocations_that_have_expired_go_some_at_a_time(broker: SQLiteBroker) -> None:
    broker.revoke([Revocation(f"task-{number}", time.time() - 1) for number in range(4500)])
    committed = commits(broker)
    broker.renew("nobody")
    assert count(broker, "revoked") == 0
    assert len(committed) > 2


def test_results_are_deleted_as_fast_as_they_expire_and_some_at_a_time(broker: SQLiteBroker) -> None:
    broker.result_store().store([Record(f"task-{number}", b"{}", ttl_s=-1.0) for number in range(5500)])
    committed = commits(broker)
    broker.renew("nobody")
    assert count(broker, "results") == 0
    assert len(committed) > 5


def test_dead_letters_beyond_the_caps_go_in_several_transactions_and_are_all_counted(broker: SQLiteBroker) -> None:
    with broker.database.write() as connection:
        connection.executemany(
            "INSERT INTO dead (queue, reason, detail, buried, deliveries, raw) VALUES ('q', 'bad', '', ?, 1, x'')",
            [(0.0 if number < 1500 else time.time(),) for number in range(3200)],
        )
    committed = commits(broker)
    assert broker.trim_dead(3600.0, 100) == 3100
    assert len(committed) > 1
    assert [letter.id for letter in broker.dead(limit=200)] == list(range(3200, 3100, -1))
    assert broker.dead_trimmed() == 3100


def send(broker: SQLiteBroker, count: int, *, due: float | None = None) -> None:
    message = Message.from_headers({"id": "a", "task": "a"}, b"")
    broker.publish([Outgoing(message, "q", due)] * count, Receipt("p", time.monotonic_ns()))


def test_a_purge_goes_in_several_transactions(broker: SQLiteBroker) -> None:
    send(broker, 800)
    send(broker, 700, due=time.time() + 3600)
    committed = commits(broker)
    assert broker.purge("q") == 1500
    assert len(committed) >= 3
    assert [count(broker, table) for table in ("messages", "ready", "delayed")] == [0, 0, 0]


def test_a_purge_ends_although_more_comes_than_it_deletes(
    broker: SQLiteBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_broker(f"sqlite:///{tmp_path / 'store.db'}", EngineOptions(str(tmp_path)))
    assert isinstance(other, SQLiteBroker)
    send(broker, 600)
    write = broker.database.write

    @contextmanager
    def write_and_let_others_write(*, durable: bool = True) -> Iterator[sqlite3.Connection]:
        send(other, 1000)
        with write(durable=durable) as connection:
            yield connection

    monkeypatch.setattr(broker.database, "write", write_and_let_others_write)
    assert broker.purge("q") == 600
    assert count(broker, "ready") == 3000
    other.close()


def test_a_purge_that_ends_in_the_middle_leaves_no_half_message(
    broker: SQLiteBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(broker, 1200)
    steps = []
    purge = waiting.purge

    def fail_the_second_time(connection: sqlite3.Connection, queue: str, last_id: int) -> int:
        found = purge(connection, queue, last_id)
        steps.append(found)
        if len(steps) == 2:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(waiting, "purge", fail_the_second_time)
    with pytest.raises(KeyboardInterrupt):
        broker.purge("q")
    assert count(broker, "ready") == count(broker, "messages") == 1200 - steps[0]
