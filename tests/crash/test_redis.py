"""Kills and cuts on Redis while 3,000 tasks run, broker on one database and results on another: nothing is lost."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from celeriac import AsyncResult, Celery
from celeriac.engines.redis import RedisBroker
from support.audit import TASKS, Audit
from support.processes import needs_proc
from support.project import Project
from support.proxy import Proxy
from support.redis_server import RedisServer
from support.waiting import until
from support.worker import WorkerProcess

Figure = Callable[[str], None]

pytestmark = [needs_proc, pytest.mark.timeout(240)]

_TASKS = 3000
_CHILDREN = 4
_LEASE_S = 1.0

_APP = """app = Celery(
    "tasks", broker=os.environ["BROKER"], backend=os.environ["BACKEND"], worker_lease=float(os.environ["LEASE_S"]),
    broker_connection_timeout=1.0,
)


@app.task(bind=True)
def long(self, number, seconds):
    note("start", number, os.getpid(), int(self.request.delivery_info["redelivered"]))
    time.sleep(seconds)
    note("end", number, os.getpid(), 0)
    return number
"""


class Fleet:
    """A project on a Redis, its producer in this process, and its workers."""

    def __init__(self, project: Project, server: RedisServer) -> None:
        # `note` stands below the application in the text, and is found when a task runs.
        project.write("tasks", TASKS.replace('app = Celery("tasks")', _APP))
        self.project = project
        self.server = server
        self.audit = Audit(project.folder)
        self.app = Celery("tasks", broker=server.url(0), backend=server.url(1))

        @self.app.task(name="tasks.work", typing=False)
        def work(number: int) -> int:
            raise NotImplementedError

        @self.app.task(name="tasks.long", typing=False)
        def long(number: int, seconds: float) -> int:
            raise NotImplementedError

        self.work, self.long = work, long

    def worker(self, broker: str | None = None, lease_s: float = _LEASE_S) -> AbstractContextManager[WorkerProcess]:
        environment = {
            "BROKER": broker or self.server.url(0),
            "BACKEND": self.server.url(1),
            "LEASE_S": str(lease_s),
            **self.audit.environment,
        }
        return self.project.worker("-c", _CHILDREN, **environment)

    def wait_until_begun(self, count: int) -> None:
        self.audit.wait_until(lambda runs: len(runs.started) >= count, f"{count} tasks begun")

    def assert_all_done(self, results: list[AsyncResult[Any]], timeout_s: float = 120.0) -> None:
        deadline = time.monotonic() + timeout_s
        values = [result.get(timeout=max(1.0, deadline - time.monotonic())) for result in results]
        assert values == list(range(len(results)))

    def assert_nothing_is_left(self) -> None:
        broker = self.app.broker
        assert isinstance(broker, RedisBroker)
        assert broker.queues() == []
        assert broker.dead() == []
        assert broker.client.call("KEYS", "celeriac:leased:*") == []
        assert broker.client.call("KEYS", "celeriac:crashes") == []


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis", "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest.fixture
def fleet(project: Project, server: RedisServer) -> Iterator[Fleet]:
    fleet = Fleet(project, server)
    yield fleet
    fleet.app.close()


def test_children_killed_forty_times_lose_nothing(fleet: Fleet, figure: Figure) -> None:
    chance, seed = _chance()
    results = fleet.work.delay_many((number,) for number in range(_TASKS))
    with fleet.worker() as worker:
        worker.wait_until_ready()
        for kill in range(1, 41):
            fleet.wait_until_begun(kill * _TASKS // 45)
            os.kill(chance.choice(until(worker.children, "some child lives")), signal.SIGKILL)
        fleet.assert_all_done(results)
        assert worker.stop() == 0
    fleet.assert_nothing_is_left()
    repeated = len(fleet.audit.read().repeated)
    assert repeated <= 40 * 30
    figure(f"lost 0 of {_TASKS}, ran twice {repeated} at 40 kills of a child (seed {seed})")


def test_workers_killed_twenty_times_lose_nothing(fleet: Fleet, figure: Figure) -> None:
    results = fleet.work.delay_many((number,) for number in range(_TASKS))
    for kill in range(1, 21):
        with fleet.worker() as worker:
            fleet.wait_until_begun(kill * _TASKS // 25)
            worker.kill()
    with fleet.worker() as worker:
        fleet.assert_all_done(results)
        assert worker.stop() == 0
    fleet.assert_nothing_is_left()
    repeated = len(fleet.audit.read().repeated)
    assert repeated <= 20 * _CHILDREN * 30
    figure(f"lost 0 of {_TASKS}, ran twice {repeated} at 20 kills of the worker with its {_CHILDREN} children")


def test_a_server_killed_twenty_times_loses_nothing(fleet: Fleet, figure: Figure) -> None:
    results = fleet.work.delay_many((number,) for number in range(_TASKS))
    with fleet.worker() as worker:
        for kill in range(1, 21):
            fleet.wait_until_begun(kill * _TASKS // 25)
            fleet.server.kill()
            fleet.server.start()
        fleet.assert_all_done(results)
        assert worker.stop() == 0
    fleet.assert_nothing_is_left()
    repeated = len(fleet.audit.read().repeated)
    assert repeated == 0  # no worker died: what had run was committed when the server was back
    figure(f"lost 0 of {_TASKS}, ran twice {repeated} at 20 kills of Redis")


def test_a_hundred_swallowed_answers_lose_nothing(fleet: Fleet, figure: Figure) -> None:
    results = fleet.work.delay_many((number,) for number in range(_TASKS))
    with Proxy(fleet.server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0?socket_timeout=0.25"
        with fleet.worker(url) as worker:
            fleet.wait_until_begun(10)
            proxy.swallow(_script("exchange"), count=100, every=3)
            fleet.assert_all_done(results)
            while proxy.swallowed < 100:
                results += fleet.work.delay_many((number,) for number in range(len(results), len(results) + 200))
                fleet.assert_all_done(results)
            assert worker.stop() == 0
    fleet.assert_nothing_is_left()
    repeated = len(fleet.audit.read().repeated)
    assert repeated == 0
    figure(
        f"lost 0 of {len(results)}, ran twice {repeated} with {proxy.swallowed} answers to claims and commits swallowed"
    )


@pytest.mark.parametrize("how", ["killed", "blackholed"])
def test_an_outage_of_three_leases_repeats_nothing(fleet: Fleet, how: str) -> None:
    lease_s = 2.0
    results = fleet.long.delay_many((number, 12.0) for number in range(4))
    with Proxy(fleet.server.port) as proxy, fleet.worker(f"redis://127.0.0.1:{proxy.port}/0", lease_s) as worker:
        fleet.wait_until_begun(4)
        if how == "killed":
            fleet.server.kill()
        else:
            proxy.blackhole()
        time.sleep(3 * lease_s)
        if how == "killed":
            fleet.server.start()
        else:
            proxy.pass_on()
        with fleet.worker(
            lease_s=lease_s
        ) as other:  # who would take over if the outage had cost the first one its lease
            fleet.assert_all_done(results)
            assert other.stop() == 0
        assert worker.stop() == 0
    runs = fleet.audit.read()
    assert {number: len(processes) for number, processes in runs.started.items()} == dict.fromkeys(range(4), 1)
    fleet.assert_nothing_is_left()


def _chance() -> tuple[random.Random, int]:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    return random.Random(seed), seed


def _script(name: str) -> bytes:
    from celeriac.engines.redis.client import _scripts

    return _scripts[name][0].encode()
