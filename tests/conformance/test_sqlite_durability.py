"""What is on the disk when a call of the SQLite engine returns, and who waits for it."""

from __future__ import annotations

import errno
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from celeriac.engines import open_broker
from celeriac.engines.base import Broker, EngineOptions, Receipt
from celeriac.engines.sqlite import SQLiteBroker, log
from celeriac.exceptions import OperationalError
from conformance.making import Producer, ids, outgoing, queue_state
from conformance.peer import Peer

URL = "sqlite:///store.db"

Opener = Callable[..., SQLiteBroker]


@pytest.fixture
def open_file(tmp_path: Path) -> Iterator[Opener]:
    opened: list[Broker] = []

    def open_it(url: str = URL, folder: Path = tmp_path) -> SQLiteBroker:
        broker = open_broker(url, EngineOptions(str(folder), 10.0))
        opened.append(broker)
        assert isinstance(broker, SQLiteBroker)
        return broker

    yield open_it
    for broker in opened:
        broker.close()


@pytest.fixture
def broker(open_file: Opener) -> SQLiteBroker:
    return open_file()


@pytest.fixture
def on_sync(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Have something done instead of waiting for the disk."""
    return lambda instead: monkeypatch.setattr(log, "_sync", lambda _fd: instead())


def in_the_file_itself(path: Path) -> int:
    """How many messages are there for one who does not look into the log."""
    with sqlite3.connect(f"file:{path}?immutable=1", uri=True) as connection:
        found: int = connection.execute("SELECT count(*) FROM messages").fetchone()[0]
    connection.close()
    return found


def publish_for_a_while(broker: Broker, folder: str, count: int) -> None:
    producer = Producer(broker)
    for number in range(count):
        producer.send(outgoing(str(number), body=b"x" * 3000))


def test_a_power_cut_does_not_take_what_a_publish_has_returned_for(
    broker: SQLiteBroker, open_file: Opener, tmp_path: Path, on_sync: Callable[[Callable[[], None]], None]
) -> None:
    def keep_what_is_on_the_disk() -> None:
        disk = tmp_path / "disk"
        shutil.rmtree(disk, ignore_errors=True)
        disk.mkdir()
        for name in ("store.db", "store.db-wal"):
            shutil.copy(tmp_path / name, disk / name)

    on_sync(keep_what_is_on_the_disk)
    producer = Producer(broker)
    for number in range(3):
        producer.send(str(number))
    assert ids(open_file(folder=tmp_path / "disk").peek("q")) == ["0", "1", "2"]


def test_a_publish_that_is_repeated_waits_for_the_disk_too(
    broker: SQLiteBroker, on_sync: Callable[[Callable[[], None]], None]
) -> None:
    synced = []
    on_sync(lambda: synced.append(True))
    for _ in range(2):
        broker.publish([outgoing("a")], Receipt("p", 1))
    assert synced == [True, True]
    assert queue_state(broker).ready == 1


def test_where_the_disk_is_not_waited_for_it_is_not(
    open_file: Opener, on_sync: Callable[[Callable[[], None]], None]
) -> None:
    synced = []
    on_sync(lambda: synced.append(True))
    Producer(open_file(f"{URL}?synchronous=normal")).send("a")
    assert synced == []


def test_others_write_while_one_waits_for_the_disk(
    broker: SQLiteBroker, open_file: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, written = threading.Event(), threading.Event()

    def first_waits(_fd: int) -> None:
        if not waits.is_set():
            waits.set()
            assert written.wait(30)

    monkeypatch.setattr(log, "_sync", first_waits)
    slow = threading.Thread(target=Producer(broker).send, args=("a",))
    slow.start()
    assert waits.wait(30)
    Producer(open_file()).send("b")  # another process
    Producer(broker).send("c")  # another thread
    written.set()
    slow.join()
    assert ids(broker.peek("q")) == ["a", "b", "c"]


def test_a_publish_that_the_disk_refused_is_repeated_and_then_in_the_file_itself(
    broker: SQLiteBroker, tmp_path: Path, on_sync: Callable[[Callable[[], None]], None]
) -> None:
    Producer(broker).send("before")

    def refuse() -> None:
        raise OSError(errno.EIO, "Input/output error")

    on_sync(refuse)
    with pytest.raises(OperationalError, match="disk reports an error"):
        broker.publish([outgoing("a")], Receipt("p", 1))
    # Asked again, the system says that all is well although it has dropped what it could not write.
    on_sync(lambda: None)
    broker.publish([outgoing("a")], Receipt("p", 1))
    assert in_the_file_itself(tmp_path / "store.db") == 2
    assert ids(broker.peek("q")) == ["before", "a"]


def test_a_store_that_is_closed_before_it_is_synced_is_on_the_disk(broker: SQLiteBroker, tmp_path: Path) -> None:
    with broker.database.write(durable=False) as connection:
        connection.execute("INSERT INTO messages (raw) VALUES (x'00')")
    broker.database.close()
    assert in_the_file_itself(tmp_path / "store.db") == 1
    broker.database.sync()


def test_the_log_begins_anew_while_four_processes_write(broker: SQLiteBroker, tmp_path: Path) -> None:
    with ExitStack() as opened:
        writers = [opened.enter_context(Peer(URL, str(tmp_path))) for _ in range(4)]
        writers[0].broker.queues()
        for writer in writers:
            writer.begin(publish_for_a_while, str(tmp_path), 700)
        for writer in writers:
            writer.answer()
    assert queue_state(broker).ready == 2800
    assert broker.database.log_bytes() < 12_000_000
