"""A Redis Cluster under real workers: failover and resharding while tasks run. Nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from celeriac import AsyncResult, Celery
from celeriac.engines.redis.cluster import ClusterBroker
from celeriac.exceptions import OperationalError
from support.audit import TASKS, Audit
from support.processes import needs_proc
from support.project import Project
from support.redis_cluster import RedisCluster
from support.waiting import until
from support.worker import WorkerProcess

Figure = Callable[[str], None]

pytestmark = [needs_proc, pytest.mark.timeout(300)]

_TASKS = 10_000
_CHILDREN = 4
_LEASE_S = 3.0
#: What every key of the default queue begins with.
_QUEUE = "{celery}"

_APP = """url = os.environ["URL"]
app = Celery("tasks", broker=url, backend=url, worker_lease=float(os.environ["LEASE_S"]))


@app.task(bind=True, max_retries=1)
def hop(self, number):
    note("start", number, os.getpid(), int(self.request.delivery_info["redelivered"]))
    if self.request.retries == 0:
        raise self.retry(countdown=0.1, queue="other")
    note("end", number, os.getpid(), 0)
    return number
"""


class Fleet:
    """A project on a cluster, its producer in this process, and its workers."""

    def __init__(self, project: Project, cluster: RedisCluster, options: str = "") -> None:
        project.write("tasks", TASKS.replace('app = Celery("tasks")', _APP))
        self.project = project
        self.cluster = cluster
        self.audit = Audit(project.folder)
        self.url = cluster.url() + options
        self.app = Celery("tasks", broker=self.url, backend=self.url)

        @self.app.task(name="tasks.work", typing=False)
        def work(number: int) -> int:
            raise NotImplementedError

        @self.app.task(name="tasks.hop", typing=False)
        def hop(number: int) -> int:
            raise NotImplementedError

        self.work, self.hop = work, hop

    def worker(self, *options: str | int) -> AbstractContextManager[WorkerProcess]:
        environment = {"URL": self.url, "LEASE_S": str(_LEASE_S), **self.audit.environment}
        return self.project.worker("-c", _CHILDREN, *options, **environment)

    def wait_until_begun(self, count: int) -> None:
        self.audit.wait_until(lambda runs: len(runs.started) >= count, f"{count} tasks begun")

    def assert_all_done(self, results: list[AsyncResult[Any]], timeout_s: float = 150.0) -> None:
        deadline = time.monotonic() + timeout_s
        values = [result.get(timeout=max(1.0, deadline - time.monotonic())) for result in results]
        assert values == list(range(len(results)))

    def assert_nothing_is_left(self) -> None:
        broker = self.app.broker
        assert isinstance(broker, ClusterBroker)
        assert broker.queues() == []
        assert broker.dead() == []


def test_a_failover_loses_nothing_that_was_published_with_a_replica(
    project: Project, tmp_path: Path, figure: Figure
) -> None:
    with RedisCluster(tmp_path / "cluster") as cluster:
        fleet = Fleet(project, cluster, "?publish_replicas=1")
        with fleet.worker() as worker:
            worker.wait_until_ready()
            results: list[AsyncResult[Any]] = []
            while len(results) < _TASKS:
                results += fleet.work.delay_many((number,) for number in range(len(results), len(results) + 500))
            fleet.wait_until_begun(_TASKS // 5)
            killed = cluster.owner_of(_QUEUE)
            killed.kill()
            cut_at = time.monotonic()
            promoted_at = cluster.wait_for_another_than(killed, _QUEUE)
            begun = sum(len(processes) for processes in fleet.audit.read().started.values())
            fleet.audit.wait_until(
                lambda runs: sum(len(processes) for processes in runs.started.values()) > begun + _CHILDREN,
                "tasks begin again",
            )
            again_s = time.monotonic() - promoted_at
            fleet.assert_all_done(results)
            assert worker.stop() == 0
        fleet.assert_nothing_is_left()
        fleet.app.close()
    repeated = len(fleet.audit.read().repeated)
    figure(
        f"lost 0 of {_TASKS}, ran twice {repeated}; the new master stood {promoted_at - cut_at:.1f} s after the kill, "
        f"tasks began again {again_s:.1f} s after that"
    )
    assert again_s < 5.0


def test_retries_into_another_queue_survive_the_failover_of_either(
    project: Project, tmp_path: Path, figure: Figure
) -> None:
    # The default queue, the other one and the results lie on all three masters, so some step of a task meets each kill.
    with RedisCluster(tmp_path / "cluster") as cluster:
        fleet = Fleet(project, cluster, "?publish_replicas=1")
        owners = {name: cluster.owner_of(name) for name in (_QUEUE, "{other}")}
        assert len({server.port for server in owners.values()}) == 2
        with fleet.worker("-Q", "celery,other") as worker:
            worker.wait_until_ready()
            results = fleet.hop.delay_many((number,) for number in range(1500))
            for count, name in ((300, "{other}"), (900, _QUEUE)):
                fleet.wait_until_begun(count)
                owners[name].kill()
                cluster.wait_for_another_than(owners[name], name)
                owners[name].start()  # as a replica of the one that has taken over
                cluster.wait_for_replicas()
            fleet.assert_all_done(results)
            assert worker.stop() == 0
        fleet.assert_nothing_is_left()
        fleet.app.close()
    runs = fleet.audit.read()
    assert sorted(runs.ended) == list(range(1500))
    extra = sum(len(processes) for processes in runs.started.values()) - 2 * 1500
    figure(f"lost 0 of 1500 tasks of two steps, {extra} steps ran twice at two failovers")


def test_killed_workers_lose_nothing(project: Project, tmp_path: Path, figure: Figure) -> None:
    with RedisCluster(tmp_path / "cluster", replicas=0) as cluster:
        fleet = Fleet(project, cluster)
        results = fleet.work.delay_many((number,) for number in range(1500))
        for kill in range(1, 6):
            with fleet.worker() as worker:
                fleet.wait_until_begun(kill * 200)
                worker.kill()
        with fleet.worker() as worker:
            fleet.assert_all_done(results)
            assert worker.stop() == 0
        fleet.assert_nothing_is_left()
        fleet.app.close()
    repeated = len(fleet.audit.read().repeated)
    assert repeated <= 5 * _CHILDREN * 30
    figure(f"lost 0 of 1500, ran twice {repeated} at 5 kills of the worker with its {_CHILDREN} children")


def test_a_master_that_only_stops_answering_is_replaced(project: Project, tmp_path: Path, figure: Figure) -> None:
    with RedisCluster(tmp_path / "cluster") as cluster:
        fleet = Fleet(project, cluster, "?socket_timeout=1")
        with fleet.worker() as worker:
            worker.wait_until_ready()
            results = fleet.work.delay_many((number,) for number in range(2000))
            fleet.wait_until_begun(300)
            stopped = cluster.owner_of(_QUEUE)
            stopped.pause()
            cluster.wait_for_another_than(stopped, _QUEUE)
            stopped.resume()
            fleet.assert_all_done(results)
            assert worker.stop() == 0
        fleet.assert_nothing_is_left()
        fleet.app.close()
    figure(f"lost 0 of 2000, ran twice {len(fleet.audit.read().repeated)} when a master froze and came back")


def test_publishing_goes_on_when_the_failover_is_over(project: Project, tmp_path: Path) -> None:
    with RedisCluster(tmp_path / "cluster") as cluster:
        fleet = Fleet(project, cluster)
        fleet.work.delay(0)
        killed = cluster.owner_of(_QUEUE)
        killed.kill()
        with pytest.raises(OperationalError):
            fleet.work.apply_async((1,), retry=False)
        cluster.wait_for_another_than(killed, _QUEUE)
        until(lambda: _accepted(fleet), "a publish is accepted", every_s=0.05)
        broker = fleet.app.broker
        assert broker.queues()[0].ready >= 1
        fleet.app.close()


def test_a_queue_whose_slot_moves_loses_nothing(project: Project, tmp_path: Path, figure: Figure) -> None:
    with RedisCluster(tmp_path / "cluster", replicas=0) as cluster:
        fleet = Fleet(project, cluster)
        with fleet.worker() as worker:
            worker.wait_until_ready()
            results = fleet.work.delay_many((number,) for number in range(3000))
            for move in range(1, 7):
                fleet.wait_until_begun(move * 400)
                owner = cluster.owner_of(_QUEUE)
                cluster.move(_QUEUE, next(server for server in cluster.servers if server is not owner))
            fleet.assert_all_done(results)
            assert worker.stop() == 0
        fleet.assert_nothing_is_left()
        fleet.app.close()
    repeated = len(fleet.audit.read().repeated)
    assert repeated == 0
    figure(f"lost 0 of 3000, ran twice {repeated} while the queue's slot moved six times")


def _accepted(fleet: Fleet) -> bool:
    try:
        fleet.work.delay(2)
    except OperationalError:
        return False
    return True
