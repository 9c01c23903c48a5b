"""The store's tables change with the versions: what older and newer programs do beside each other."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from celeriac import messages
from celeriac.engines import open_broker
from celeriac.engines.base import EngineOptions, Owner
from celeriac.engines.sqlite import SQLiteBroker, schema
from celeriac.engines.sqlite.queries import schema as newest_tables
from celeriac.exceptions import OperationalError, StoreTooNew
from conformance.making import ME, YOU, Producer, claim, ids, node, outgoing, record, settle
from conformance.peer import Peer
from conformance.remote import die_in_an_upgrade, upgrade_to
from support.processes import needs_proc

URL = "sqlite:///store.db"
_OLD_STORES = sorted((Path(__file__).parent / "stores").glob("version_*.sql"))
#: An upgrade that only adds something, and one that changes what there is.
_ADDS = ["CREATE TABLE later (id INTEGER PRIMARY KEY)"]
_CHANGES = ["ALTER TABLE ready RENAME TO waiting", "UPDATE counters SET value = 99 WHERE name = 'compatible_from'"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[SQLiteBroker]:
    broker = open_broker(URL, EngineOptions(str(tmp_path), 10.0))
    assert isinstance(broker, SQLiteBroker)
    yield broker
    broker.close()


@pytest.fixture
def newer(tmp_path: Path) -> Iterator[Peer]:
    """Another process, which plays the newer program."""
    with Peer(URL, str(tmp_path)) as peer:
        yield peer


def _make_old(path: Path, tables: Path) -> None:
    """A store as an older version has left it: two messages, one of them leased to a worker that is dead, and a result."""
    connection = sqlite3.connect(path)
    connection.executescript(tables.read_text())
    for number, task_id in enumerate(("a", "b"), 1):
        connection.execute("INSERT INTO messages VALUES (?, ?)", (number, messages.encode(outgoing(task_id))))
    connection.execute("INSERT INTO ready VALUES ('q', 0, 1, 0, 0, 1.0)")
    connection.execute("INSERT INTO leased VALUES (7, 2, 'q', 0, 1, 0, 1.0, 'node-gone', 1, NULL)")
    connection.execute("UPDATE counters SET value = 7 WHERE name = 'token'")
    connection.execute("INSERT INTO results VALUES ('c', x'7b7d', 3, NULL)")
    connection.execute(f"PRAGMA application_id={schema.APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={tables.stem.removeprefix('version_')}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.commit()
    connection.close()


def _words(sql: str) -> list[str]:
    """Without comments, and however it is laid out."""
    return " ".join(line.partition("--")[0] for line in sql.splitlines()).split()


def _tables(path: Path) -> list[tuple[str, list[str]]]:
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").fetchall()
    connection.close()
    return [(name, _words(sql)) for name, sql in rows]


def _counters(path: Path) -> set[str]:
    with sqlite3.connect(path) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM counters")}
    connection.close()
    return names


def _version(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return int(version)


# ── an older store ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("tables", _OLD_STORES, ids=lambda tables: tables.stem)
def test_an_old_store_is_brought_up_to_date_with_all_that_is_in_it(
    broker: SQLiteBroker, path: Path, tmp_path: Path, tables: Path
) -> None:
    _make_old(path, tables)
    broker.register(node(ME.node))
    (taken,) = broker.recover(Owner(ME.node))
    assert (taken.message.id, taken.previous, taken.token) == ("b", 7, 8)
    (lease,) = claim(broker)
    assert lease.message.id == "a"
    assert settle(broker, lease)
    assert broker.result_store().get(["c"]) == {"c": b"{}"}
    assert _version(path) == schema.VERSION
    fresh = sqlite3.connect(tmp_path / "fresh.db")
    fresh.executescript("".join(newest_tables()))
    fresh.close()
    assert _tables(path) == _tables(tmp_path / "fresh.db")
    assert _counters(path) == _counters(tmp_path / "fresh.db")


def test_there_is_a_store_of_every_older_version() -> None:
    assert [tables.stem for tables in _OLD_STORES] == [f"version_{number}" for number in range(1, schema.VERSION)]


@pytest.mark.parametrize("tables", _OLD_STORES, ids=lambda tables: tables.stem)
def test_processes_that_upgrade_a_store_at_once_share_it(path: Path, tmp_path: Path, tables: Path) -> None:
    peers = [Peer(URL, str(tmp_path)) for _ in range(4)]
    try:
        for peer in peers:
            peer.broker.describe()  # it is up
        _make_old(path, tables)
        for peer in peers:
            peer.send(("broker", "peek", ("q",)))
        assert [ids(peer.answer()) for peer in peers] == [["a"]] * 4
    finally:
        for peer in peers:
            peer.close()
    assert _version(path) == schema.VERSION


@needs_proc
def test_a_process_that_is_killed_in_an_upgrade_leaves_the_store_as_it_was(
    broker: SQLiteBroker, newer: Peer, path: Path
) -> None:
    Producer(broker).send("a")
    broker.close()
    before = _tables(path)
    newer.begin(die_in_an_upgrade, _ADDS)
    with pytest.raises(EOFError):
        newer.answer()
    assert _version(path) == schema.VERSION
    assert _tables(path) == before
    assert ids(broker.peek("q")) == ["a"]


# ── a newer program beside us ────────────────────────────────────────────────────────────────────────────────────────


def test_older_programs_go_on_where_an_upgrade_only_adds_something(
    broker: SQLiteBroker, newer: Peer, tmp_path: Path
) -> None:
    Producer(broker).send("a", "b")
    (lease,) = claim(broker, limit=1)
    newer.run(upgrade_to, schema.VERSION + 1, _ADDS)
    assert settle(broker, lease)
    Producer(broker).send("c")
    assert ids(newer.broker.peek("q")) == ["b", "c"]
    third = open_broker(URL, EngineOptions(str(tmp_path), 10.0))
    assert ids(third.peek("q")) == ["b", "c"]
    third.close()


def test_older_programs_stop_with_a_sentence_where_an_upgrade_changes_what_there_is(
    broker: SQLiteBroker, newer: Peer, path: Path, tmp_path: Path
) -> None:
    Producer(broker).send("a")
    (lease,) = claim(broker)
    newer.run(upgrade_to, schema.VERSION + 1, _CHANGES)
    before = path.with_name("store.db-wal").read_bytes()
    third = open_broker(URL, EngineOptions(str(tmp_path), 10.0))
    words = (
        rf"store\.db was made or upgraded by a newer celeriac \(schema {schema.VERSION + 1}, .*: upgrade celeriac here"
    )
    for call in (
        lambda: settle(broker, lease),
        lambda: Producer(broker).send("b"),
        lambda: broker.renew(ME.node),
        lambda: broker.result_store().store([record("a")]),
        broker.queues,
        third.queues,
    ):
        with pytest.raises(StoreTooNew, match=words):
            call()
    assert path.with_name("store.db-wal").read_bytes() == before


def test_what_an_older_worker_held_goes_to_the_newer_one_when_it_has_ended(broker: SQLiteBroker, newer: Peer) -> None:
    Producer(broker).send("a")
    with Peer(URL, str(Path(broker.database.location.path or "").parent)) as older:
        (lease,) = claim(older.broker, owner=YOU)
        newer.run(
            upgrade_to, schema.VERSION + 1, [*_ADDS, "UPDATE counters SET value = 99 WHERE name = 'compatible_from'"]
        )
        with pytest.raises(StoreTooNew):
            settle(older.broker, lease, owner=YOU)
    newer.broker.register(node(ME.node))
    (taken,) = newer.broker.recover(Owner(ME.node))
    assert (taken.message.id, taken.previous) == ("a", lease.token)


def test_an_older_backup_that_is_restored_into_an_open_store_is_upgraded(broker: SQLiteBroker, path: Path) -> None:
    Producer(broker).send("new")
    old = path.with_name("old.db")
    _make_old(old, _OLD_STORES[-1])
    source, target = sqlite3.connect(old), sqlite3.connect(path)
    source.backup(target)
    source.close()
    target.close()
    with pytest.raises(OperationalError, match="was replaced by an older one"):
        broker.queues()
    assert ids(broker.peek("q")) == ["a"]
    assert _version(path) == schema.VERSION
