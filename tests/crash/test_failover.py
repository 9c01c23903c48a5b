"""The master of three sentinels is killed under load, with real servers: nothing that a replica had is lost."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from celeriac import Celery
from celeriac.engines import open_broker
from celeriac.engines.base import Ack, Broker, Claim, Commit, EngineOptions, Node, Owner, Receipt
from celeriac.exceptions import BrokerError, OperationalError
from celeriac.messages import Message, Outgoing
from support.processes import needs_proc
from support.project import Project
from support.redis_sentinel import MASTER_NAME, SentinelSet
from support.redis_server import words_of
from support.waiting import until

Figure = Callable[[str], None]

pytestmark = [needs_proc, pytest.mark.timeout(180)]

_TASKS = 10_000
_PRODUCERS = 8
#: Publishes go on through the failover, which takes about two seconds.
_PATIENT = {"broker_connection_timeout": 20.0, "task_publish_retry_policy": {"max_retries": None, "interval_max": 0.1}}

_MODULE = """
import os
import time

from celeriac import Celery

app = Celery("tasks", broker=os.environ["BROKER"])
app.conf.broker_transport_options = {"master_name": "mymaster"}


@app.task(ignore_result=True)
def work(number):
    file = os.open(os.environ["RUNS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{number} {time.monotonic()}\\n".encode())
    os.close(file)
"""


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[SentinelSet]:
    with SentinelSet(tmp_path / "servers") as sentinels:
        yield sentinels


class Runs:
    """The lines that tasks wrote: their numbers, and when they began."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "runs"
        self.path.touch()

    def read(self) -> list[tuple[int, float]]:
        whole, _, _ = self.path.read_text().rpartition("\n")
        return [(int(number), float(began)) for number, began in (line.split() for line in whole.splitlines())]


def test_a_master_killed_under_load_loses_nothing_that_a_replica_has(
    project: Project, sentinels: SentinelSet, figure: Figure
) -> None:
    project.write("tasks", _MODULE)
    runs = Runs(project.folder)
    app = Celery("client", broker=sentinels.url())
    app.conf.update(
        _PATIENT, broker_transport_options={"master_name": MASTER_NAME, "publish_replicas": 1, "socket_timeout": 3}
    )

    @app.task(name="tasks.work", typing=False, ignore_result=True)
    def work(number: int) -> None:
        raise NotImplementedError

    numbers = iter(range(_TASKS))
    taking = threading.Lock()
    slowest_s = 0.0

    def produce() -> None:
        nonlocal slowest_s
        while True:
            with taking:
                number = next(numbers, None)
            if number is None:
                return
            began = time.monotonic()
            work.delay(number)
            slowest_s = max(slowest_s, time.monotonic() - began)

    environment = {"BROKER": sentinels.url(), "RUNS": str(runs.path)}
    with project.worker("-c", 2, **environment) as worker, ThreadPoolExecutor(_PRODUCERS) as pool:
        worker.wait_until_ready()
        producing = [pool.submit(produce) for _ in range(_PRODUCERS)]
        until(lambda: runs.path.stat().st_size > _TASKS * 3, "some tasks have run")
        assert not all(producer.done() for producer in producing)
        old = sentinels.master
        old.kill()
        sentinels.wait_for_another_than(old)
        elected = time.monotonic()
        for producer in producing:
            producer.result()
        expected = set(range(_TASKS))
        until(lambda: {number for number, _ in runs.read()} == expected, "all tasks have run", 60.0, every_s=0.2)
        assert worker.stop() == 0
    resumed_s = min(began for _, began in runs.read() if began > elected) - elected
    repeated = sum(count > 1 for count in Counter(number for number, _ in runs.read()).values())
    broker = app.broker
    assert broker.queues() == []
    assert broker.dead() == []
    app.close()
    assert resumed_s < 5
    figure(
        f"lost 0 of {_TASKS}, ran twice {repeated}; consuming {resumed_s:.2f} s after the new master was named; "
        f"the slowest delay() took {slowest_s:.1f} s"
    )


# ── what a failover takes back ───────────────────────────────────────────────────────────────────────────────────────

ME = Owner("me", 1)
CLAIM = Claim(("q",), 10)


@pytest.fixture
def connect(sentinels: SentinelSet) -> Iterator[Callable[..., Broker]]:
    opened: list[Broker] = []

    def connect(**options: Any) -> Broker:
        given = {"master_name": MASTER_NAME, **options}
        opened.append(open_broker(sentinels.url(), EngineOptions("/nowhere", 4.0, given)))
        return opened[-1]

    yield connect
    for broker in opened:
        broker.close()


def test_claims_that_a_failover_takes_back_are_made_again_under_other_tokens(
    sentinels: SentinelSet, connect: Callable[..., Broker]
) -> None:
    broker = connect(publish_replicas=2)
    broker.register(Node("me", "celery@me", "here", 1, "solo", 1, ("q",), 600.0))
    _publish(broker, 1, "a", "b")
    old = sentinels.master
    replicas = [server for server in sentinels.servers if server is not old]
    for replica in replicas:
        replica.call("CONFIG", "SET", "masterauth", "which the master refuses")
    old.call("CLIENT", "KILL", "TYPE", "replica")
    lost = broker.exchange(ME, [], CLAIM).leases  # which no replica hears of
    assert {lease.message.id for lease in lost} == {"a", "b"}
    old.kill()
    sentinels.wait_for_another_than(old)
    again = until(lambda: _claim(broker), "the new master lends")
    assert {lease.message.id for lease in again} == {"a", "b"}
    assert not {lease.token for lease in again} & {lease.token for lease in lost}
    stale = broker.exchange(ME, [Commit(lease.token, Ack()) for lease in lost])
    assert stale.applied == (False, False)
    assert broker.exchange(ME, [Commit(lease.token, Ack()) for lease in again]).applied == (True, True)


def test_a_master_that_hangs_is_given_up_for_the_new_one_and_stays_given_up(
    sentinels: SentinelSet, connect: Callable[..., Broker]
) -> None:
    """Waking up it believes that it is the master still, until the sentinels tell it."""
    broker = connect(socket_timeout=1)
    _publish(broker, 1, "a")
    old = sentinels.master
    old.pause()
    sentinels.wait_for_another_than(old)
    assert _quietly(broker.queues) is None  # it was the connection to the old one
    until(lambda: _quietly(lambda: _publish(broker, 2, "b") or True), "the new master takes messages")
    old.resume()
    _publish(broker, 3, "c")
    until(lambda: words_of(old.port, "ROLE")[:1] == ["slave"], "the old master has become a replica")
    assert [state.ready for state in broker.queues()] == [3]


def test_a_worker_logs_in_at_sentinels_and_servers(project: Project, tmp_path: Path) -> None:
    options = {"master_name": MASTER_NAME, "sentinel_kwargs": {"password": "watchword"}}
    with SentinelSet(tmp_path / "guarded", replicas=1, password="secret", sentinel_password="watchword") as sentinels:
        url = sentinels.url()
        project.with_common_tasks(broker_url=url, broker_transport_options=options)
        with project.worker("-c", 1) as worker, Celery("client", broker=url) as app:
            add = app.task(name="tasks.add", typing=False)(lambda x, y: None)
            worker.wait_until_ready()
            app.conf.broker_transport_options = options
            assert add.delay(1, 1).get(timeout=30) == 2
            assert worker.stop() == 0
        with pytest.raises(BrokerError, match=r"NOAUTH.*for sentinels: in sentinel_kwargs"):
            open_broker(url, EngineOptions("/nowhere", 4.0, {"master_name": MASTER_NAME})).queues()
        with pytest.raises(BrokerError, match=r"refuses us: NOAUTH"):
            open_broker(url.replace(":secret@", ""), EngineOptions("/nowhere", 4.0, options)).queues()
    assert "secret" not in worker.log
    assert "watchword" not in worker.log


def test_all_connections_follow_a_failover_of_a_master_that_lives(
    sentinels: SentinelSet, connect: Callable[..., Broker]
) -> None:
    """The one that waits for work and the one that waits for results as well."""
    broker, producer = connect(), connect()
    broker.register(Node("me", "celery@me", "here", 1, "solo", 1, ("q",), 600.0))
    parked = Claim(("q",), 1, park=True)
    assert broker.exchange(ME, [], parked).leases == ()
    heard = threading.Event()
    with broker.result_store().watch("some-task", heard.set):
        until(heard.is_set, "the server confirms that it listens")
        heard.clear()
        old = sentinels.master
        sentinels.fail_over()
        until(lambda: words_of(old.port, "ROLE")[:1] == ["slave"], "the old master has become a replica")
        until(lambda: _quietly(lambda: broker.exchange(ME, [], parked)), "the new master answers")
        threading.Timer(0.3, _publish, (producer, 1, "a")).start()
        began = time.monotonic()
        until(lambda: _quietly(lambda: broker.wait(10.0) or True), "the bell rings")
        assert time.monotonic() - began < 8
        assert [lease.message.id for lease in broker.exchange(ME, [], CLAIM).leases] == ["a"]
        assert heard.wait(10)  # told to look, since what was published meanwhile nobody heard


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"master_name": "yourmaster"}, "watches no master 'yourmaster'; it watches 'mymaster'"),
        ({"min_other_sentinels": 5}, "fewer than min_other_sentinels=5"),
    ],
)
def test_what_sentinels_refuse_is_said(connect: Callable[..., Broker], options: dict[str, Any], said: str) -> None:
    with pytest.raises(Exception, match=said):
        connect(**options).queues()


def test_one_sentinel_that_answers_is_enough(sentinels: SentinelSet, connect: Callable[..., Broker]) -> None:
    broker = connect()
    sentinels.kill_sentinel(0)
    sentinels.kill_sentinel(1)
    assert broker.queues() == []
    sentinels.kill_sentinel(2)
    assert broker.queues() == []  # on the connection that there is
    with pytest.raises(OperationalError, match=r"sentinel redis://127.0.0.1:\d+/0 cannot be reached"):
        connect().queues()


def test_a_master_that_is_down_is_named(tmp_path: Path) -> None:
    with SentinelSet(tmp_path / "slow", replicas=1, down_after_ms=60_000) as sentinels:
        master = sentinels.master
        master.kill()
        broker = open_broker(sentinels.url(), EngineOptions("/nowhere", 4.0, {"master_name": MASTER_NAME}))
        said = rf"the master that sentinel \S+ names is down: redis://127.0.0.1:{master.port}/0 cannot be reached"
        with pytest.raises(OperationalError, match=said):
            broker.queues()
        broker.close()


def _publish(broker: Broker, number: int, *names: str) -> None:
    messages = [Message.from_headers({"id": name, "task": "t"}, b"[[],{},{}]") for name in names]
    broker.publish([Outgoing(message, "q", None) for message in messages], Receipt("test", number))


def _claim(broker: Broker) -> Any:
    return _quietly(lambda: broker.exchange(ME, [], CLAIM).leases)


def _quietly(call: Callable[[], Any]) -> Any:
    """What the call returns; None while the store is away."""
    try:
        return call()
    except OperationalError:
        return None
