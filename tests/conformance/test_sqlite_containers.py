"""One store under several paths: containers that mount its folder elsewhere, links, other users."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from celeriac.engines import open_broker
from celeriac.engines.base import EngineOptions, Owner, Record
from celeriac.engines.sqlite import SQLiteBroker
from celeriac.exceptions import BrokerError, ConfigError
from conformance.making import ME, YOU, Producer, claim, ids, node, settle
from conformance.peer import Peer
from conformance.remote import publish_as_another_user, watch_timed
from support.waiting import until

_UNSHARE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


def _may_have_containers() -> bool:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    return subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False).returncode == 0


needs_containers = pytest.mark.skipif(not _may_have_containers(), reason="may make no namespaces here")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder


@pytest.fixture
def open_at() -> Iterator[Callable[[Path], SQLiteBroker]]:
    opened: list[SQLiteBroker] = []

    def open_it(path: Path) -> SQLiteBroker:
        broker = open_broker(f"sqlite:///{path}", EngineOptions("/", 10.0))
        assert isinstance(broker, SQLiteBroker)
        opened.append(broker)
        return broker

    yield open_it
    for broker in opened:
        broker.close()


@pytest.fixture
def broker(folder: Path, open_at: Callable[[Path], SQLiteBroker]) -> SQLiteBroker:
    broker = open_at(folder / "store.db")
    broker.queues()
    return broker


@pytest.fixture
def contained(folder: Path, tmp_path: Path) -> Iterator[Peer]:
    """A process with process ids of its own, for which the folder has another path."""
    inside = tmp_path / "inside"
    inside.mkdir()
    script = 'mount --bind "$0" "$1"; mount -t tmpfs tmpfs "$0"; shift; exec "$@"'
    with Peer(
        "sqlite:///store.db", str(inside), prefix=[*_UNSHARE, "sh", "-ec", script, str(folder), str(inside)]
    ) as peer:
        yield peer


# ── containers ───────────────────────────────────────────────────────────────────────────────────────────────────────


@needs_containers
def test_containers_meet_in_one_store(broker: SQLiteBroker, contained: Peer) -> None:
    Producer(broker).send("a")
    Producer(contained.broker).send("b")
    assert ids(broker.peek("q")) == ids(contained.broker.peek("q")) == ["a", "b"]


@needs_containers
def test_a_worker_in_another_container_lives_until_it_dies(broker: SQLiteBroker, contained: Peer) -> None:
    Producer(broker).send("a")
    broker.register(node(ME.node))
    (lease,) = claim(contained.broker, owner=YOU)
    assert {state.node.id: state.alive for state in broker.nodes()} == {ME.node: True, YOU.node: True}
    assert broker.recover(Owner(ME.node)) == []
    contained.kill()
    (taken,) = until(lambda: broker.recover(Owner(ME.node)), "the kernel has ended what was in the container")
    assert taken.previous == lease.token


@needs_containers
def test_a_worker_outside_lives_for_those_inside(broker: SQLiteBroker, contained: Peer) -> None:
    Producer(broker).send("a")
    (lease,) = claim(broker)
    contained.broker.register(node(YOU.node))
    assert contained.broker.recover(Owner(YOU.node)) == []
    assert settle(broker, lease)


@needs_containers
def test_a_publish_wakes_a_worker_in_another_container(broker: SQLiteBroker, contained: Peer) -> None:
    contained.broker.register(node(YOU.node))
    assert claim(contained.broker, owner=YOU, park=True) == []
    Producer(broker).send("a")
    began = time.monotonic()
    contained.broker.wait(60.0)
    assert time.monotonic() - began < 30
    assert claim(broker, park=True, limit=1) != []


@needs_containers
def test_a_publish_in_a_container_wakes_a_worker_outside(broker: SQLiteBroker, contained: Peer) -> None:
    assert claim(broker, park=True) == []
    Producer(contained.broker).send("a")
    began = time.monotonic()
    broker.wait(60.0)
    assert time.monotonic() - began < 30


@needs_containers
def test_who_waits_for_a_result_hears_of_it_in_another_container(broker: SQLiteBroker, contained: Peer) -> None:
    contained.begin(watch_timed, "id-1", 60.0)
    results = broker.result_store()
    until(lambda: _watched(broker) == ["id-1"], "it watches")
    results.store([Record("id-1", b"{}")])
    assert contained.answer() < 30
    heard = threading.Event()
    with results.watch("id-2", heard.set):
        contained.results.store([Record("id-2", b"{}")])
        assert heard.wait(30)


def _watched(broker: SQLiteBroker) -> list[str]:
    with broker.database.read() as connection:
        return [task_id for (task_id,) in connection.execute("SELECT task_id FROM result_waiters")]


@needs_containers
def test_a_store_that_is_mounted_without_its_folder_is_refused_in_words(broker: SQLiteBroker, folder: Path) -> None:
    Producer(broker).send("a")
    other = folder.with_name("other")
    other.mkdir()
    (other / "store.db").touch()
    script = 'mount --bind "$0/store.db" "$1/store.db"; shift; exec "$@"'
    prefix = [*_UNSHARE, "sh", "-ec", script, str(folder), str(other)]
    words = r"store\.db is mounted alone, without its folder.*Mount the folder"
    with Peer("sqlite:///store.db", str(other), prefix=prefix) as peer, pytest.raises(ConfigError, match=words):
        peer.broker.queues()
    assert ids(broker.peek("q")) == ["a"]


# ── links and users ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("of", ["file", "folder"])
def test_a_link_leads_to_the_same_workers(
    broker: SQLiteBroker, folder: Path, open_at: Callable[[Path], SQLiteBroker], of: str
) -> None:
    link = folder.with_name("link")
    link.symlink_to(folder / "store.db" if of == "file" else folder)
    linked = open_at(link if of == "file" else link / "store.db")
    Producer(broker).send("a")
    (lease,) = claim(broker)
    linked.register(node(YOU.node))
    assert linked.recover(Owner(YOU.node)) == []
    assert claim(linked, owner=YOU, park=True) == []
    Producer(broker).send("b")
    began = time.monotonic()
    linked.wait(60.0)
    assert time.monotonic() - began < 30
    assert settle(broker, lease)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["link", "shared"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may be somebody else")
def test_another_user_is_refused_in_words(folder: Path) -> None:
    shared = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else folder
    place = shared / f"celeriac-test-{os.getpid()}-{folder.parent.name}"
    place.mkdir(mode=0o755)
    try:
        with Peer("sqlite:///store.db", str(place)) as peer:
            Producer(peer.broker).send("a")
            with pytest.raises(
                BrokerError, match=r"store\.db cannot be written: .*belongs to someone else.*CELERIAC_HOME"
            ):
                peer.run(publish_as_another_user, str(place))
            assert ids(peer.broker.peek("q")) == ["a"]
    finally:
        shutil.rmtree(place)
