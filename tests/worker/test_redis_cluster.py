"""Revoked and delayed tasks with real workers on a Redis Cluster, in queues of several masters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from celeriac import AsyncResult, Celery
from celeriac.delayed import DelayedTasks
from celeriac.exceptions import TaskRevokedError
from support.gate import Gate
from support.project import Project
from support.redis_cluster import RedisCluster
from support.waiting import until

#: The masters of these three differ.
_QUEUES = ("celery", "images", "billing")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with RedisCluster(tmp_path_factory.mktemp("cluster"), replicas=0) as cluster:
        assert len({cluster.owner_of(f"{{{queue}}}").port for queue in _QUEUES}) == len(_QUEUES)
        yield cluster


class Shop:
    """A project on the cluster, and a client of it."""

    def __init__(self, project: Project, app: Celery) -> None:
        self.project = project
        self.app = app

    def send(self, task: str, *args: Any, **options: Any) -> AsyncResult[Any]:
        return self.app.send_task(f"tasks.{task}", args, **options)

    def worker(self) -> Any:
        return self.project.worker("-c", 2, "-Q", ",".join(_QUEUES))

    def lies(self) -> int:
        """How many messages are anywhere."""
        return sum(state.ready + state.delayed + state.leased + state.dead for state in self.app.broker.queues())


@pytest.fixture
def shop(cluster: RedisCluster, project: Project) -> Iterator[Shop]:
    cluster.empty()
    url = cluster.url()
    project.with_common_tasks(broker_url=url, result_backend=url)
    with Celery("client", broker=url, backend=url) as app:
        yield Shop(project, app)


def assert_revoked(result: AsyncResult[Any], why: str) -> None:
    error = result.get(timeout=30, propagate=False)
    assert isinstance(error, TaskRevokedError), error
    assert (str(error), result.state) == (why, "REVOKED")


def test_what_waits_is_taken_out_of_every_queue_at_once_without_any_worker(shop: Shop) -> None:
    doomed = [shop.send("add", 1, 1, queue=queue) for queue in _QUEUES]
    kept = [shop.send("add", number, 1, queue=queue) for number, queue in enumerate(_QUEUES)]
    shop.app.control.revoke([result.id for result in doomed])
    for result in doomed:
        assert_revoked(result, "revoked")
    assert shop.lies() == len(kept)
    with shop.worker() as worker:
        assert [result.get(timeout=30) for result in kept] == [1, 2, 3]
        assert worker.stop() == 0
    assert shop.lies() == 0


def test_what_is_sent_after_its_revocation_does_not_run_in_a_queue_that_was_not_there(shop: Shop) -> None:
    shop.app.control.revoke(["known-id"])
    with shop.worker() as worker:
        worker.wait_until_ready()
        assert_revoked(shop.send("add", 1, 1, task_id="known-id", queue="billing"), "revoked")
        shop.app.control.unrevoke("known-id")
        assert shop.send("add", 2, 2, queue="billing").get(timeout=30) == 4
        assert worker.stop() == 0
    assert "Adding 1 + 1" not in worker.log
    assert shop.lies() == 0


@pytest.mark.parametrize("queue", _QUEUES)
def test_terminate_ends_a_run_whichever_master_has_its_queue(shop: Shop, gate: Gate, queue: str) -> None:
    with shop.worker() as worker:
        result = shop.send("hold", gate.port, queue=queue)
        gate.arrival()
        result.revoke(terminate=True)
        assert_revoked(result, "terminated")
        assert shop.send("add", 2, 2, queue=queue).get(timeout=30) == 4
        assert worker.stop() == 0
    assert shop.lies() == 0


def test_delayed_tasks_are_listed_run_and_revoked_over_all_queues(shop: Shop) -> None:
    with shop.worker() as worker:
        worker.wait_until_ready()
        results = [
            shop.send("add", number, 1, queue=queue, countdown=3600 - number) for number, queue in enumerate(_QUEUES)
        ]
        listed = shop.project.celeriac("-A", "tasks", "delayed", "list")
        assert listed.returncode == 0, listed.stderr
        assert [listed.stdout.index(result.id) for result in results] == sorted(
            (listed.stdout.index(result.id) for result in results), reverse=True
        )
        done = shop.project.celeriac("-A", "tasks", "delayed", "run", results[1].id)
        assert done.returncode == 0, done.stderr
        assert results[1].get(timeout=30) == 2
        delayed = DelayedTasks(shop.app)
        assert delayed.revoke([results[0].id]) == 1
        assert_revoked(results[0], "revoked")
        assert delayed.run_all() == 1
        assert results[2].get(timeout=30) == 3
        until(lambda: shop.lies() == 0, "nothing is left")
        assert worker.stop() == 0
