"""The SQLite file: where it lies, what may be wrong with it, and that nothing acknowledged is ever lost."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from celeriac.engines import open_broker
from celeriac.engines.base import Broker, EngineOptions, Owner, Receipt
from celeriac.engines.sqlite import SQLiteBroker, database, doorbell
from celeriac.exceptions import BrokerError, ConfigError, OperationalError
from conformance.making import ME, YOU, Producer, claim, ids, node, outgoing, queue_state, settle
from conformance.peer import Peer
from conformance.remote import claim_for_ever, make_stores_at_once, publish_for_ever
from support.processes import machine_load
from support.senders import send_timed
from support.waiting import until

URL = "sqlite:///store.db"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def open_file(tmp_path: Path) -> Iterator[Callable[..., SQLiteBroker]]:
    """Open the store with a deadline short enough for tests that run into it."""
    opened: list[Broker] = []

    def open_it(url: str = URL, timeout_s: float = 10.0) -> SQLiteBroker:
        broker = open_broker(url, EngineOptions(str(tmp_path), timeout_s))
        opened.append(broker)
        assert isinstance(broker, SQLiteBroker)
        return broker

    yield open_it
    for broker in opened:
        broker.close()


@pytest.fixture
def broker(open_file: Callable[..., SQLiteBroker]) -> SQLiteBroker:
    return open_file()


@pytest.fixture
def memory_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system in memory, if there is one."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="celeriac-test-", dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[Callable[..., Peer]]:
    started: list[Peer] = []

    def start(**options: object) -> Peer:
        peer = Peer(URL, str(tmp_path), **options)  # type: ignore[arg-type]
        started.append(peer)
        return peer

    yield start
    for peer in started:
        peer.close()


# ── the file ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_opening_makes_no_file_and_the_first_use_does(open_file: Callable[..., SQLiteBroker], path: Path) -> None:
    broker = open_file()
    assert str(path) in broker.describe()
    assert not path.exists()
    broker.queues()
    assert path.exists()


def test_only_the_owner_may_read_the_file(broker: SQLiteBroker, path: Path) -> None:
    Producer(broker).send("a")
    files = [path, path.with_name("store.db-wal"), path.with_name("store.db-shm")]
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600] * 3


def test_the_default_folder_keeps_itself_out_of_git(open_file: Callable[..., SQLiteBroker], tmp_path: Path) -> None:
    open_file("sqlite://").queues()
    folder = tmp_path / ".celeriac"
    assert (folder / ".gitignore").read_text() == "*\n"
    assert (folder / "celeriac.db").exists()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_write_ahead_log_is_kept(broker: SQLiteBroker, path: Path) -> None:
    Producer(broker).send("a")
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


@pytest.mark.parametrize(("url", "level"), [(URL, 2), (f"{URL}?synchronous=normal", 1)])
def test_what_is_published_waits_for_the_disk_unless_told_otherwise(
    open_file: Callable[..., SQLiteBroker], url: str, level: int
) -> None:
    broker = open_file(url)
    Producer(broker).send("a")
    with broker.database.write() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (level,)


def test_an_empty_file_becomes_a_store(broker: SQLiteBroker, path: Path) -> None:
    path.touch()
    Producer(broker).send("a")
    assert ids(broker.peek("q")) == ["a"]


# ── files that are no store ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_that_is_no_database_is_refused_and_left_alone(broker: SQLiteBroker, path: Path) -> None:
    path.write_text("My novel. Chapter one. " * 100)
    for call in (broker.queues, lambda: Producer(broker).send("a")):
        with pytest.raises(BrokerError, match=r"store\.db is not a celeriac store.*left alone.*broker_url"):
            call()
    assert path.read_text() == "My novel. Chapter one. " * 100
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_database_of_something_else_is_refused_and_left_alone(broker: SQLiteBroker, path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE customers (name)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(BrokerError, match=r"store\.db is a database of something else.*left alone.*broker_url"):
        broker.queues()
    assert path.read_bytes() == before


def test_a_damaged_store_is_refused_in_words(
    broker: SQLiteBroker, open_file: Callable[..., SQLiteBroker], path: Path
) -> None:
    Producer(broker).send(*map(str, range(200)))
    broker.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096 * 8)
    with pytest.raises(BrokerError, match=r"store\.db .*damaged"):
        claim(open_file(), limit=1000)


def test_a_folder_is_refused_in_words(broker: SQLiteBroker, path: Path) -> None:
    path.mkdir()
    with pytest.raises(ConfigError, match=r"store\.db is a folder, not a file.*broker_url"):
        broker.queues()


def test_a_file_where_the_folder_should_be_is_refused_in_words(
    open_file: Callable[..., SQLiteBroker], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BrokerError, match=r"store\.db cannot be written: .*CELERIAC_HOME"):
        open_file("sqlite:///file/store.db").queues()


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p"])
def test_a_network_file_system_is_refused_by_name(
    broker: SQLiteBroker, path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    table = f"21 1 8:1 / / rw - ext4 /dev/sda1 rw\n22 21 0:42 / {path.parent.resolve()} rw - {kind} server:/x rw\n"
    monkeypatch.setattr(database, "_mount_table", lambda: table)
    with pytest.raises(ConfigError, match=rf"{path} lies on a network file system \({kind}\).*CELERIAC_HOME"):
        broker.queues()
    assert not path.exists()


# ── read-only and full disks ─────────────────────────────────────────────────────────────────────────────────────────


def _in_own_mounts(script: str, *arguments: str) -> list[str]:
    """The start of a command that runs after a script, in a mount namespace that ends with it."""
    return ["unshare", "--mount", "sh", "-ec", f'{script}\nexec "$@"', *arguments]


def _may_mount() -> bool:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0


def _read_only(folder: Path) -> Callable[[Callable[..., Peer]], Peer]:
    """A peer for which the folder is read-only."""
    if os.geteuid() != 0:
        for entry in [*folder.iterdir(), folder]:
            entry.chmod(0o500 if entry.is_dir() else 0o400)
        return lambda peers: peers()
    if not _may_mount():
        pytest.skip("root may write everywhere, and may mount nothing here")
    script = 'mount --bind "$0" "$0"; mount -o remount,ro,bind "$0"'
    return lambda peers: peers(prefix=_in_own_mounts(script, str(folder)))


@contextmanager
def _writable_again(folder: Path) -> Iterator[None]:
    try:
        yield
    finally:
        folder.chmod(0o700)
        for entry in folder.iterdir():
            entry.chmod(0o700 if entry.is_dir() else 0o600)


def test_a_read_only_folder_is_refused_in_words(peers: Callable[..., Peer], tmp_path: Path) -> None:
    with _writable_again(tmp_path):
        peer = _read_only(tmp_path)(peers)
        with pytest.raises(BrokerError, match=r"store\.db cannot be written: .*CELERIAC_HOME"):
            peer.broker.queues()


def test_a_read_only_store_is_refused_in_words(
    broker: SQLiteBroker, peers: Callable[..., Peer], tmp_path: Path
) -> None:
    Producer(broker).send("a")
    broker.close()
    with _writable_again(tmp_path):
        peer = _read_only(tmp_path)(peers)
        with pytest.raises(BrokerError, match=r"store\.db cannot be written: .*CELERIAC_HOME"):
            Producer(peer.broker).send("b")
    assert ids(broker.peek("q")) == ["a"]


def _fill(producer: Producer) -> tuple[int, str]:
    """Publish until it fails; how many passed, and the error's words."""
    for number in range(10_000):
        try:
            producer.send(outgoing(str(number), body=b"x" * 3000))
        except OperationalError as error:
            return number, str(error)
    raise AssertionError("the disk is never full")


def test_a_full_disk_is_told_in_words_and_loses_nothing(peers: Callable[..., Peer], tmp_path: Path) -> None:
    if not _may_mount():
        pytest.skip("needs to mount a small disk")
    small = _in_own_mounts('mount -t tmpfs -o size=1m tmpfs "$0"', str(tmp_path))
    broker = peers(prefix=small).broker
    producer = Producer(broker)
    passed, words = _fill(producer)
    assert "store.db" in words
    assert "disk" in words
    assert passed > 20
    assert ids(broker.peek("q", 10_000)) == [str(number) for number in range(passed)]
    again, _ = _fill(producer)  # the failure has broken nothing, and what fits into the gaps still fits
    assert queue_state(broker).ready == passed + again


def test_a_full_store_is_told_in_words_and_has_room_again(broker: SQLiteBroker) -> None:
    producer = Producer(broker)
    producer.send("first")
    with broker.database.write() as connection:
        connection.execute("PRAGMA max_page_count=60")
    passed, words = _fill(producer)
    assert "the disk is full; nothing was written. Make room and try again" in words
    assert "store.db" in words
    assert queue_state(broker).ready == passed + 1
    leases = claim(broker, limit=10) + claim(broker, limit=10)
    assert ids(leases)[0] == "first"
    for lease in leases:
        assert settle(broker, lease)
    producer.send(outgoing("fits again", body=b"x" * 3000))


# ── trouble while it is open ─────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _locked(path: Path) -> Iterator[sqlite3.Connection]:
    stranger = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    stranger.execute("BEGIN EXCLUSIVE")
    yield stranger
    stranger.close()


def test_a_stranger_who_locks_the_file_is_told_of_by_the_deadline(
    open_file: Callable[..., SQLiteBroker], path: Path
) -> None:
    broker = open_file(timeout_s=0.3)
    producer = Producer(broker)
    producer.send("a")
    with _locked(path):
        began = time.monotonic()
        with pytest.raises(OperationalError, match=r"store\.db has been locked by another program for 0\.3 s"):
            producer.send("b")
        assert 0.25 < time.monotonic() - began < 5
    producer.send("c")
    assert ids(broker.peek("q")) == ["a", "c"]


def test_a_publish_goes_through_as_soon_as_a_stranger_lets_go(broker: SQLiteBroker, path: Path) -> None:
    producer = Producer(broker)
    producer.send("a")
    with _locked(path) as stranger:
        publishing = threading.Thread(target=producer.send, args=("b",))
        publishing.start()
        stranger.execute("COMMIT")
        publishing.join(30)
        assert not publishing.is_alive()
    assert ids(broker.peek("q")) == ["a", "b"]


def test_reading_needs_no_lock(broker: SQLiteBroker, path: Path) -> None:
    Producer(broker).send("a")
    with _locked(path):
        assert ids(broker.peek("q")) == ["a"]


def test_a_file_that_is_locked_while_it_is_made_is_waited_for(
    open_file: Callable[..., SQLiteBroker], path: Path
) -> None:
    broker = open_file(timeout_s=0.3)
    path.touch()
    with _locked(path), pytest.raises(OperationalError, match=r"store\.db has been locked"):
        Producer(broker).send("a")
    Producer(broker).send("b")
    assert ids(broker.peek("q")) == ["b"]


def test_a_file_that_was_deleted_is_made_anew(broker: SQLiteBroker, path: Path, peers: Callable[..., Peer]) -> None:
    producer = Producer(broker)
    producer.send("before")
    for file in path.parent.glob("store.db*"):
        if file.is_file():
            file.unlink()
    producer.send("after")
    assert ids(peers().broker.peek("q")) == ["after"]
    assert ids(broker.peek("q")) == ["after"]


def test_a_worker_lives_on_after_its_folder_was_deleted(
    open_file: Callable[..., SQLiteBroker], path: Path, peers: Callable[..., Peer]
) -> None:
    broker = open_file("sqlite://")
    broker.register(node(ME.node))
    assert claim(broker, park=True) == []
    shutil.rmtree(path.parent / ".celeriac")
    assert not broker.renew(ME.node)
    broker.register(node(ME.node))
    second = open_file("sqlite://")
    Producer(second).send("a", "b")
    (lease,) = claim(broker, limit=1)
    second.register(node(YOU.node))
    assert second.recover(Owner(YOU.node)) == []
    assert settle(broker, lease)


def test_a_replaced_file_is_not_written_to_by_its_old_name(broker: SQLiteBroker, path: Path) -> None:
    producer = Producer(broker)
    producer.send("before")
    path.rename(path.with_name("moved.db"))
    for side in ("-wal", "-shm"):
        path.with_name(f"store.db{side}").rename(path.with_name(f"moved.db{side}"))
    producer.send("after")
    assert ids(broker.peek("q")) == ["after"]
    moved = sqlite3.connect(path.with_name("moved.db"))
    assert moved.execute("SELECT count(*) FROM messages").fetchone() == (1,)
    moved.close()


def test_a_publisher_that_is_out_of_file_handles_takes_no_bell_down(
    broker: SQLiteBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert claim(broker, park=True) == []
    (bell,) = broker.database.side_folder("bells").glob("*.bell")

    def refuse(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(doorbell.os, "open", refuse)
        doorbell.ring(bell.parent, bell.name)
    assert bell.exists()


# ── processes ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_a_process_held_that_is_no_more_on_the_list_is_recovered(
    broker: SQLiteBroker, peers: Callable[..., Peer]
) -> None:
    Producer(broker).send("a", "b")
    peer = peers()
    (lost,) = claim(peer.broker, limit=1, owner=YOU)
    peer.broker.unregister(YOU.node)
    peer.kill()
    (taken,) = broker.recover(Owner(ME.node))
    assert (taken.previous, taken.message.id) == (lost.token, "a")


def test_processes_that_make_a_store_at_once_share_it(memory_disk: Path) -> None:
    with ExitStack() as opened:
        several = [opened.enter_context(Peer(URL, str(memory_disk))) for _ in range(4)]
        for peer in several:
            peer.broker.describe()  # it is up
        began = time.time() + 0.05
        for number, peer in enumerate(several):
            peer.begin(make_stores_at_once, str(memory_disk), f"peer-{number}", began, 25)
        for peer in several:
            peer.answer()
        for number in range(25):
            store = open_broker(f"sqlite:///many-{number}.db", EngineOptions(str(memory_disk)))
            opened.callback(store.close)
            assert queue_state(store).ready == 4


def test_a_writer_that_is_killed_leaves_all_that_it_was_told_is_stored(
    broker: SQLiteBroker, peers: Callable[..., Peer], tmp_path: Path, figure: Callable[[str], None]
) -> None:
    acknowledged = 0
    for turn in range(3):
        logs = [tmp_path / f"{turn}-{number}.log" for number in range(2)]
        writers = [peers() for _ in logs]
        for writer, log in zip(writers, logs, strict=True):
            log.touch()
            writer.begin(publish_for_ever, log.stem, str(log))
        until(lambda logs=logs: all(log.stat().st_size > 200 for log in logs), "both write")
        for writer in writers:
            writer.kill()
        found = set(ids(broker.peek("q", 1_000_000)))
        for log in logs:
            numbers = log.read_text().split()
            acknowledged += len(numbers)
            missing = {f"{log.stem}-{n}-{part}" for n in numbers for part in "abc"} - found
            assert missing == set()
            # What was on its way is there whole or not at all.
            beyond = [name for name in found if name and name.startswith(f"{log.stem}-{len(numbers) + 1}-")]
            assert len(beyond) in (0, 3)
    with sqlite3.connect(tmp_path / "store.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    figure(f"6 writers killed, {acknowledged} acknowledged publishes, none lost")


def test_a_child_killed_while_it_claims_loses_nothing(broker: SQLiteBroker, peers: Callable[..., Peer]) -> None:
    Producer(broker).send(*map(str, range(300)))
    dead = peers()
    dead.broker.register(node(YOU.node))
    dead.begin(claim_for_ever, YOU)
    until(lambda: queue_state(broker).ready < 250, "it claims")
    dead.kill()
    broker.register(node(ME.node))
    taken = broker.recover(Owner(ME.node))
    state = queue_state(broker)
    assert (state.leased, state.ready) == (len(taken), 300 - len(taken))


@pytest.mark.parametrize("where", ["disk", "memory"])
def test_four_writers_wait_their_turn(
    tmp_path: Path, memory_disk: Path, figure: Callable[[str], None], where: str
) -> None:
    folder = str(tmp_path if where == "disk" else memory_disk)
    with ExitStack() as opened:
        writers = [opened.enter_context(Peer(URL, folder)) for _ in range(4)]
        writers[0].broker.queues()
        with machine_load() as load:
            for writer in writers:
                writer.begin(send_timed, f"sqlite:///{folder}/store.db", 150)
            took = sorted(seconds for writer in writers for seconds in writer.answer())
        assert queue_state(writers[0].broker, "celery").ready == 600
    median, p99 = took[len(took) // 2], took[int(len(took) * 0.99)]
    figure(
        f"delay by four processes at once: median {median * 1000:.2f} ms, p99 {p99 * 1000:.1f} ms, "
        f"worst of {len(took)} {took[-1] * 1000:.1f} ms (load by others {load.others:.0%})"
    )
    # A disk that others keep busy takes seconds for a write; only without one does the time say how fair the writers are.
    assert where == "disk" or p99 < 0.25
    if load.at_rest:
        assert p99 < 0.05


def test_a_process_that_was_stopped_is_not_dead(broker: SQLiteBroker, peers: Callable[..., Peer]) -> None:
    slow = peers()
    slow.broker.register(node(YOU.node))
    Producer(broker).send("a")
    (lease,) = claim(slow.broker, owner=YOU)
    slow.signal(signal.SIGSTOP)
    try:
        broker.register(node(ME.node))
        assert broker.recover(Owner(ME.node)) == []
    finally:
        slow.signal(signal.SIGCONT)
    assert settle(slow.broker, lease, owner=YOU)


def test_old_receipts_are_forgotten_and_recent_ones_kept(broker: SQLiteBroker) -> None:
    broker.register(node(ME.node))
    broker.publish([outgoing("a")], Receipt("old", 1))
    broker.publish([outgoing("b")], Receipt("recent", 1))
    with broker.database.write() as connection:
        connection.execute("UPDATE producers SET seen = seen - 100000 WHERE id = 'old'")
    assert broker.renew(ME.node)
    with broker.database.read() as connection:
        assert connection.execute("SELECT id FROM producers").fetchall() == [("recent",)]
