"""What piles up is cleared some at a time, so that nobody else waits for one long transaction."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from celeriac.engines import open_broker
from celeriac.engines.base import EngineOptions, Revocation
from celeriac.engines.sqlite import SQLiteBroker


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[SQLiteBroker]:
    broker = open_broker(f"sqlite:///{tmp_path / 'store.db'}", EngineOptions(str(tmp_path)))
    assert isinstance(broker, SQLiteBroker)
    yield broker
    broker.close()


def count(broker: SQLiteBroker, table: str) -> int:
    with broker.database.read() as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_revocations_that_have_expired_go_some_at_a_time(broker: SQLiteBroker) -> None:
    broker.revoke([Revocation(f"task-{number}", time.time() - 1) for number in range(1500)])
    left = []
    for _ in range(3):
        broker.renew("nobody")
        left.append(count(broker, "revoked"))
    assert left == [500, 0, 0]


def test_dead_letters_beyond_the_caps_go_in_several_transactions_and_are_all_counted(broker: SQLiteBroker) -> None:
    with broker.database.write() as connection:
        connection.executemany(
            "INSERT INTO dead (queue, reason, detail, buried, deliveries, raw) VALUES ('q', 'bad', '', ?, 1, x'')",
            [(0.0 if number < 1500 else time.time(),) for number in range(3200)],
        )
    commits = []
    with broker.database.read() as connection:
        connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    assert broker.trim_dead(3600.0, 100) == 3100
    assert len(commits) > 1
    assert [letter.id for letter in broker.dead(limit=200)] == list(range(3200, 3100, -1))
    assert broker.dead_trimmed() == 3100
