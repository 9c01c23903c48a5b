"""Several workers, workers that come later, and tasks that no worker knows."""

from __future__ import annotations

import pytest

from celeriac.exceptions import NotRegistered
from support.gate import Gate
from support.project import Client, Project
from support.waiting import until


def test_two_workers_share_a_queue(project: Project, client: Client, gate: Gate) -> None:
    project.with_common_tasks()
    with project.worker("-c", 1, "-n", "one") as one, project.worker("-c", 1, "-n", "two") as two:
        one.wait_until_ready()
        two.wait_until_ready()
        results = [client.send("facts", gate.port) for _ in range(4)]
        hosts = set()
        for _ in range(2):
            pair = [gate.arrival(), gate.arrival()]
            hosts.update(arrival.word.split()[1].split("@")[0] for arrival in pair)
            for arrival in pair:
                arrival.open()
        assert hosts == {"one", "two"}
        for result in results:
            assert result.get(timeout=30) is None


def test_a_busy_worker_keeps_nothing_from_an_idle_one(project: Project, client: Client, gate: Gate) -> None:
    """What a child had claimed behind a task that turns out to be long goes to whoever is free."""
    project.with_common_tasks()
    with project.worker("-c", 1) as busy:
        busy.wait_until_ready()
        for number in range(30):
            client.send("add", number, 1)
        assert client.run("add", 30, 1) == 31  # quick ones, so that it claims several at a time
        client.send("hold", gate.port)
        waiting = [client.send("add", number, 2) for number in range(10)]
        gate.arrival()
        with project.worker("-c", 1):
            assert [result.get(timeout=30) for result in waiting] == list(range(2, 12))


def test_a_worker_that_comes_later_does_what_was_sent_before(project: Project, client: Client) -> None:
    project.with_common_tasks()
    results = [client.send("add", number, number) for number in range(20)]
    assert client.queue().ready == 20
    with project.worker("-c", 2):
        assert [result.get(timeout=30) for result in results] == list(range(0, 40, 2))


def test_a_task_waits_for_a_worker_that_knows_it(project: Project, client: Client) -> None:
    project.with_common_tasks()
    newer = Project(project.folder / "newer").write(
        "tasks",
        f"""
        from celeriac import Celery
        app = Celery("tasks", broker="sqlite:///{project.store}")

        @app.task
        def subtract(x, y):
            return x - y
        """,
    )
    with project.worker("-c", 1) as old:
        old.wait_until_ready()
        result = client.send("subtract", 5, 3)
        old.wait_for(
            r"ERROR/\S+\] Received a task that is not registered here: 'tasks\.subtract'\. It waits up to 0:05:00 for a "
            r"worker that has it\. Does this worker import the module that defines it\?"
        )
        until(lambda: client.queue().delayed == 1, "the task waits in the store")
        assert old.stop() == 0
        with newer.worker("-c", 1):
            assert result.get(timeout=30) == 2


def test_a_task_that_nobody_knows_is_buried_after_a_while(project: Project, client: Client) -> None:
    project.with_common_tasks(unknown_task_wait=0.5)
    with project.worker("-c", 1) as worker:
        result = client.send("subtrakt", 5, 3)
        with pytest.raises(NotRegistered, match=r"tasks\.subtrakt"):
            result.get(timeout=30)
        worker.wait_for(r"ERROR/\S+\] Buried task tasks\.subtrakt\[.*\]: no worker of queue celery has had a task")
        (letter,) = client.app.broker.dead()
        assert letter.task == "tasks.subtrakt"
        assert client.run("add", 1, 1) == 2
