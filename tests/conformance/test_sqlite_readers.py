"""Strangers who read the store's file for long, and copies that are made of it while it is in use."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from celeriac.engines import open_broker
from celeriac.engines.base import EngineOptions
from celeriac.engines.sqlite import SQLiteBroker, logwatch
from celeriac.engines.sqlite.database import USUAL_LOG_BYTES
from conformance.making import ME, Producer, claim, ids, node, outgoing, queue_state, settle
from conformance.peer import Peer
from conformance.remote import publish_for_ever
from support.waiting import until

_MB = 1_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[SQLiteBroker]:
    broker = open_broker("sqlite:///store.db?synchronous=normal", EngineOptions(str(tmp_path), 10.0))
    assert isinstance(broker, SQLiteBroker)
    yield broker
    broker.close()


@contextmanager
def _reader(path: Path) -> Iterator[sqlite3.Connection]:
    """A forgotten shell, in the middle of a transaction that only reads."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM messages").fetchone()
    try:
        yield connection
    finally:
        connection.close()


def _work(broker: SQLiteBroker, megabytes: int) -> None:
    """Publish, claim and settle so much."""
    producer = Producer(broker)
    for _ in range(megabytes):
        producer.send(*(outgoing(str(number), body=b"x" * 150_000) for number in range(5)))
        for lease in claim(broker, limit=5):
            assert settle(broker, lease)


def test_the_log_stays_small_under_load(broker: SQLiteBroker, path: Path) -> None:
    _work(broker, 60)
    assert broker.database.log_bytes() < 16 * _MB
    assert path.stat().st_size < 16 * _MB


def test_a_reader_keeps_no_writer_waiting_and_sees_its_own_moment(broker: SQLiteBroker, path: Path) -> None:
    Producer(broker).send("a")
    with _reader(path) as reader:
        _work(broker, 3)
        assert queue_state(broker).ready == 1
        assert reader.execute("SELECT count(*) FROM messages").fetchone() == (1,)


def test_a_log_that_a_reader_made_grow_is_told_of_once_and_cut_when_it_has_gone(
    broker: SQLiteBroker, path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logwatch, "LONG_BYTES", USUAL_LOG_BYTES + 5 * _MB)
    broker.register(node(ME.node))
    with _reader(path):
        _work(broker, 90)
        for _ in range(3):
            broker.renew(ME.node)
    grown = broker.database.log_bytes()
    assert grown > USUAL_LOG_BYTES + 5 * _MB
    (line,) = caplog.messages
    assert line.startswith(
        f"{broker.describe()}-wal has grown to {grown // _MB} MB, as some program has had the store open"
    )
    assert "a forgotten sqlite3 shell" in line
    caplog.clear()
    _work(broker, 20)
    assert broker.database.log_bytes() <= USUAL_LOG_BYTES
    for _ in range(3):
        broker.renew(ME.node)
    assert caplog.messages == [f"{broker.describe()}-wal is no longer than usual again"]
    assert caplog.records[0].levelno == logging.WARNING


def _backup(path: Path, copy: Path) -> None:
    source, target = sqlite3.connect(path, timeout=30), sqlite3.connect(copy)
    source.backup(target, pages=50)
    source.close()
    target.close()


def _vacuum(path: Path, copy: Path) -> None:
    connection = sqlite3.connect(path, timeout=30)
    connection.execute("VACUUM INTO ?", (str(copy),))
    connection.close()


@pytest.mark.parametrize("make_copy", [_backup, _vacuum])
def test_a_copy_that_is_made_under_load_is_a_whole_store(
    path: Path, tmp_path: Path, make_copy: Callable[[Path, Path], None]
) -> None:
    log = tmp_path / "log"
    log.touch()
    with Peer("sqlite:///store.db", str(tmp_path)) as writer:
        writer.begin(publish_for_ever, "w", str(log))
        until(lambda: log.stat().st_size > 300, "it writes")
        before = len(log.read_text().split())
        make_copy(path, tmp_path / "copy.db")
        after = len(log.read_text().split())
        until(lambda: log.stat().st_size > 600, "it goes on")
        writer.kill()
    copy = open_broker("sqlite:///copy.db", EngineOptions(str(tmp_path), 10.0))
    found = ids(copy.peek("q", 1_000_000))
    assert found[: 3 * before] == [f"w-{number}-{part}" for number in range(1, before + 1) for part in "abc"]
    assert len(found) % 3 == 0
    assert len(found) <= 3 * (after + 1)
    Producer(copy).send("later")
    copy.close()
    connection = sqlite3.connect(tmp_path / "copy.db")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
