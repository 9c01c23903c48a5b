"""A worker and a producer on a Redis that goes away in every way it can, and comes back."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import hiredis
import pytest

from celeriac import Celery
from celeriac.exceptions import BrokerError, OperationalError
from support.gate import Gate
from support.processes import machine_load, needs_proc
from support.project import Client, Project
from support.proxy import Proxy
from support.redis_server import RedisServer, words_of
from support.waiting import until
from support.worker import WorkerProcess

Figure = Callable[[str], None]

pytestmark = [needs_proc, pytest.mark.timeout(120)]

_TIMEOUT_S = 1.0
_CHILDREN = 2


class Site:
    """A server that keeps all it was told, a proxy before it, and what an outage needs of them."""

    def __init__(self, folder: Path) -> None:
        always = ("--appendonly", "yes", "--appendfsync", "always")
        self.folder = folder
        self.server = RedisServer(folder, *always, "--enable-debug-command", "local")
        self.proxy: Proxy
        self.strangers: list[socket.socket] = []

    def say(self, *words: str, password: str = "") -> None:
        answer = words_of(self.server.port, *words, password=password)
        assert not answer or not answer[0].startswith(("ERR", "NOAUTH", "WRONGPASS")), answer

    def send_only(self, *words: str) -> None:
        """A command whose answer nobody waits for."""
        self.strangers.append(socket.create_connection(("127.0.0.1", self.server.port)))
        self.strangers[-1].sendall(hiredis.pack_command(words))

    def wait_for_answer(self, start: str, *words: str) -> None:
        until(lambda: any(start in word for word in words_of(self.server.port, *words)), f"{words} says {start}")


class SlowClient(Client):
    """A client of the server with the worker's deadline."""

    def __init__(self, url: str) -> None:
        self.app = Celery("client", broker=url, broker_connection_timeout=_TIMEOUT_S)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "redis")
    with site.server, Proxy(site.server.port) as site.proxy:
        yield site
        for stranger in site.strangers:
            stranger.close()


# ── the outages: what happens, what a producer is told, and how it ends ──────────────────────────────────────────────


class Outage:
    said = "no answer in time"
    error: type[Exception] = OperationalError

    def begin(self, site: Site) -> None: ...

    def end(self, site: Site) -> None: ...


class Killed(Outage):
    said = "cannot be reached|was lost"

    def begin(self, site: Site) -> None:
        site.server.kill()

    def end(self, site: Site) -> None:
        site.server.start()


class Stopped(Outage):
    def begin(self, site: Site) -> None:
        site.server.pause()

    def end(self, site: Site) -> None:
        site.server.resume()


class Blackholed(Outage):
    def begin(self, site: Site) -> None:
        site.proxy.blackhole()

    def end(self, site: Site) -> None:
        site.proxy.pass_on()


class Refused(Outage):
    said = "the server closed it|was lost|cannot be reached"

    def begin(self, site: Site) -> None:
        site.proxy.refuse()

    def end(self, site: Site) -> None:
        site.proxy.pass_on()


class BecameReplica(Outage):
    said = "READONLY"

    def begin(self, site: Site) -> None:
        site.say("REPLICAOF", "127.0.0.1", "1")

    def end(self, site: Site) -> None:
        site.say("REPLICAOF", "NO", "ONE")


class Loading(Outage):
    said = "LOADING"

    def begin(self, site: Site) -> None:
        site.say("DEBUG", "POPULATE", "2000", "stranger")
        site.say("BGREWRITEAOF")
        site.wait_for_answer("aof_rewrite_in_progress:0", "INFO", "persistence")
        site.server.kill()
        site.server.launch("--key-load-delay", "1500", "--loading-process-events-interval-bytes", "1024")
        site.wait_for_answer("LOADING", "PING")

    def end(self, site: Site) -> None:
        site.server.wait_until_ready()


class CannotSave(Outage):
    said = "MISCONF"

    def begin(self, site: Site) -> None:
        (site.folder / "dump.rdb").mkdir()
        site.say("CONFIG", "SET", "save", "900 1")
        site.say("BGSAVE")
        site.wait_for_answer("rdb_last_bgsave_status:err", "INFO", "persistence")

    def end(self, site: Site) -> None:
        (site.folder / "dump.rdb").rmdir()
        site.say("BGSAVE")
        site.wait_for_answer("rdb_last_bgsave_status:ok", "INFO", "persistence")


class PasswordChanged(Outage):
    said = "NOAUTH.*Check user and password"
    error = BrokerError

    def begin(self, site: Site) -> None:
        site.say("CONFIG", "SET", "requirepass", "another")
        site.say("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", password="another")

    def end(self, site: Site) -> None:
        site.say("CONFIG", "SET", "requirepass", "", password="another")


class UserChanged(Outage):
    said = "WRONGPASS.*Check user and password"
    error = BrokerError

    def begin(self, site: Site) -> None:
        site.say("ACL", "SETUSER", "app", "resetpass", ">another")
        site.say("CLIENT", "KILL", "USER", "app")

    def end(self, site: Site) -> None:
        site.say("ACL", "SETUSER", "app", "resetpass", ">secret")


class Paused(Outage):
    def begin(self, site: Site) -> None:
        site.say("CLIENT", "PAUSE", "5000")

    def end(self, site: Site) -> None:
        site.wait_for_answer("PONG", "PING")


class Busy(Outage):
    said = "BUSY"

    def begin(self, site: Site) -> None:
        site.say("CONFIG", "SET", "busy-reply-threshold", "100")
        site.send_only("EVAL", "while true do end", "0")
        site.wait_for_answer("BUSY", "PING")

    def end(self, site: Site) -> None:
        site.say("SCRIPT", "KILL")


OUTAGES = [
    Killed,
    Stopped,
    Blackholed,
    Refused,
    BecameReplica,
    Loading,
    CannotSave,
    PasswordChanged,
    UserChanged,
    Paused,
    Busy,
]


@pytest.mark.parametrize("outage", [kind() for kind in OUTAGES], ids=lambda outage: type(outage).__name__)
def test_after_an_outage_a_worker_goes_on_within_two_seconds_and_repeats_nothing(
    project: Project, site: Site, gate: Gate, figure: Figure, outage: Outage
) -> None:
    login = ""
    if isinstance(outage, UserChanged):
        login = "app:secret@"
        site.say("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all")
    url = f"redis://{login}127.0.0.1:{site.proxy.port}/0"
    project.with_common_tasks(broker_url=url, broker_connection_timeout=_TIMEOUT_S)
    with SlowClient(url) as client, project.worker("-c", _CHILDREN) as worker:
        worker.wait_until_ready()
        assert client.run("add", 1, 1) == 2
        result = client.send("hold", gate.port, "finished in the outage")
        arrival = gate.arrival()

        outage.begin(site)
        worker.wait_for("The broker cannot be used")
        began = time.monotonic()
        with pytest.raises(outage.error, match=outage.said):
            client.send("add", 1, 1)
        took_s = time.monotonic() - began
        arrival.open()
        worker.wait_for("The lease cannot be renewed")
        outage.end(site)

        returned = time.time()
        with machine_load() as load, SlowClient(site.server.url().replace("//", f"//{login}")) as other:
            resumed_s = other.run("moment") - returned
        figure(
            f"{type(outage).__name__}: consuming {resumed_s:.2f} s after its end; delay() failed after {took_s:.2f} s"
        )
        assert resumed_s < (2 if load.at_rest else 8)
        assert took_s < (2 * _TIMEOUT_S if load.at_rest else 8)
        assert result.get(timeout=30) == "finished in the outage"
        until(
            lambda: _told(worker, "The broker cannot") == _told(worker, "The broker is back"), "all children are back"
        )
        worker.wait_for("The lease is renewed again")
        assert worker.stop() == 0
    assert gate.stays_empty(0.1)
    assert _told(worker, "The broker cannot") <= _CHILDREN  # a line of each that noticed
    assert _told(worker, "The lease cannot be renewed") == _told(worker, "The lease is renewed again") == 1


def _told(worker: WorkerProcess, text: str) -> int:
    return worker.log.count(text)


def test_half_open_connections_are_given_up_within_ten_seconds(
    project: Project, site: Site, gate: Gate, figure: Figure
) -> None:
    """All of a worker's and of a waiting caller's, with the deadlines that there are by default."""
    url = f"redis://127.0.0.1:{site.proxy.port}/0"
    project.with_common_tasks(broker_url=url)
    with project.worker("-c", _CHILDREN) as worker, Celery("client", broker=url) as app:
        hold = app.task(name="tasks.hold", typing=False)(lambda port, word: None)
        worker.wait_until_ready()
        result = hold.delay(gate.port, "x")
        arrival = gate.arrival()
        heard: list[float] = []
        with app.results.watch(result.id, lambda: heard.append(time.monotonic())):
            until(lambda: heard, "the server confirms that it listens")
            heard.clear()
            site.proxy.half_open()
            site.proxy.pass_on()
            cut = time.monotonic()
            arrival.open()
            with SlowClient(site.server.url()) as other:
                other.send("hold", gate.port, "y")
                gate.arrival().open()
            worker_s = time.monotonic() - cut
            until(lambda: heard, "whoever waits is told to look")
            waiter_s = heard[0] - cut
        assert result.get(timeout=30) == "x"
        figure(
            f"half-open: the worker consumes after {worker_s:.1f} s, a waiting caller listens after {waiter_s:.1f} s"
        )
        assert worker_s < 10
        assert waiter_s < 10
        assert worker.stop() == 0


def test_a_full_server_takes_no_more_work_and_loses_none(project: Project, site: Site, gate: Gate) -> None:
    """Producers are told; workers go on, or it would never be emptied."""
    url = site.server.url()
    project.with_common_tasks(broker_url=url, broker_connection_timeout=_TIMEOUT_S)
    with SlowClient(url) as client, project.worker("-c", 1) as worker:
        worker.wait_until_ready()
        result = client.send("hold", gate.port, "x")
        arrival = gate.arrival()
        waiting = [client.send("add", number, 1) for number in range(20)]
        site.say("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(OperationalError, match="OOM"):
            client.send("add", 1, 1)
        arrival.open()
        assert result.get(timeout=30) == "x"
        assert [one.get(timeout=30) for one in waiting] == [number + 1 for number in range(20)]
        site.say("CONFIG", "SET", "maxmemory", "0")
        assert client.run("add", 1, 1) == 2
        assert worker.stop() == 0
    assert "cannot be used" not in worker.log


def test_cut_connections_fail_no_call_and_repeat_no_run(project: Project, site: Site) -> None:
    """`CLIENT KILL`, again and again, while tasks run: every call is one task."""
    url = site.server.url()
    project.with_common_tasks(broker_url=url)
    with Celery("client", broker=url) as app, project.worker("-c", _CHILDREN) as worker:
        add = app.task(name="tasks.add", typing=False)(lambda x, y: None)
        worker.wait_until_ready()
        results = []
        for number in range(200):
            if number % 10 == 0:
                site.say("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            results.append(add.delay(number, 1))
        assert [result.get(timeout=30) for result in results] == [number + 1 for number in range(200)]
        assert worker.stop() == 0
    assert worker.log.count("Adding ") == 200


@pytest.mark.parametrize("outage", [PasswordChanged()], ids=["PasswordChanged"])
def test_a_worker_that_is_refused_at_its_start_ends_and_says_why(project: Project, site: Site, outage: Outage) -> None:
    outage.begin(site)
    project.with_common_tasks(broker_url=site.server.url(), broker_connection_timeout=_TIMEOUT_S)
    with project.worker("-c", 1) as worker:
        assert worker.wait() != 0
    assert "NOAUTH" in worker.log
    assert "Traceback" not in worker.log
