"""Children that are replaced after so many tasks, or with so much memory."""

from __future__ import annotations

import re
import time

import pytest

from support.gate import Gate
from support.processes import alive, needs_proc
from support.project import Client, Project
from support.waiting import until

_TASKS = """
import asyncio
import os
import socket

from celeriac import Celery

app = Celery("tasks")
kept = []


@app.task
def pid():
    return os.getpid()


@app.task
async def apid():
    await asyncio.sleep(0)
    return os.getpid()


@app.task
def keep(mib):
    kept.append(b"x" * (mib << 20))
    return os.getpid()


@app.task
def hold(port):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"{os.getpid()} \\n".encode())
        connection.recv(1)
    return os.getpid()
"""

_STUBBORN = """
left = []


async def go_on_for_ever():
    while True:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            pass


@app.task
async def leave_behind():
    left.append(asyncio.create_task(go_on_for_ever()))
    await asyncio.sleep(0)
"""

_REASON = r"INFO/{name}\] This process is replaced: {why}"

in_each_pool = pytest.mark.parametrize(
    ("pool", "name"), [("prefork", "ForkPoolWorker-1"), ("threads", "ThreadPool"), ("asyncio", "AsyncioPool")]
)


def write(project: Project, **settings: object) -> Project:
    return project.write(
        "tasks", _TASKS + "".join(f"app.conf.{name} = {value!r}\n" for name, value in settings.items())
    )


@in_each_pool
@pytest.mark.parametrize("task", ["pid", "apid"])
def test_a_child_runs_as_many_tasks_as_it_may_and_the_next_goes_on(
    pool: str, name: str, task: str, project: Project, client: Client
) -> None:
    write(project, worker_max_tasks_per_child=10)
    results = client.task(task).delay_many([()] * 35)
    with project.worker("-P", pool, "-c", 1) as worker:
        pids = [result.get(timeout=30) for result in results]
        counts = sorted((pids.count(pid) for pid in set(pids)), reverse=True)
        assert counts == [10, 10, 10, 5]
        worker.wait_for(_REASON.format(name=name, why=r"it has run 10 tasks \(worker_max_tasks_per_child\)"))
        assert worker.stop() == 0
        assert "ERROR" not in worker.log
        assert "will run again" not in worker.log
        assert "was not running" not in worker.log  # it claimed no more than it could run


def test_its_successor_does_not_wait(project: Project, client: Client) -> None:
    write(project, worker_max_tasks_per_child=1)
    results = client.task("pid").delay_many([()] * 20)
    with project.worker("-c", 1) as worker:
        worker.wait_until_ready()
        began = time.monotonic()
        assert len({result.get(timeout=60) for result in results}) == 20
        assert time.monotonic() - began < 20  # a child that dies young by itself waits half a second and more
        assert worker.stop() == 0


@pytest.mark.parametrize("pool", ["threads", "asyncio"])
def test_what_runs_beside_the_last_one_is_finished(pool: str, project: Project, client: Client, gate: Gate) -> None:
    write(project, worker_max_tasks_per_child=3)
    with project.worker("-P", pool, "-c", 2) as worker:
        long = client.send("hold", gate.port)
        arrival = gate.arrival()
        first = [client.run("pid") for _ in range(2)]
        waiting = client.send("pid")
        assert first == [arrival.pid] * 2
        until(lambda: client.queue().ready == 1, "the next waits for the next child")
        arrival.open()
        assert long.get(timeout=30) == arrival.pid
        assert waiting.get(timeout=30) != arrival.pid
        assert worker.stop() == 0


@needs_proc
@in_each_pool
def test_a_child_that_holds_too_much_memory_is_replaced(pool: str, name: str, project: Project, client: Client) -> None:
    write(project, worker_max_memory_per_child=120 * 1024)
    with project.worker("-P", pool, "-c", 1) as worker:
        first = client.run("keep", 1)
        assert client.run("keep", 1) == first
        assert client.run("keep", 120) == first
        until(lambda: not alive(first), "the child has ended")
        assert client.run("pid") != first
        reason = worker.wait_for(_REASON.format(name=r"\S+", why=r"it holds (\d+) KiB of memory"))
        assert int(reason[1]) > 120 * 1024
        assert "One task alone" not in worker.log
        assert re.search("ERROR|will run again", worker.log) is None
        assert worker.stop() == 0


@needs_proc
def test_one_task_that_is_too_much_by_itself_is_told_of(project: Project, client: Client) -> None:
    write(project, worker_max_memory_per_child=80 * 1024)
    with project.worker("-c", 1) as worker:
        client.run("keep", 100)
        worker.wait_for(r"WARNING/ForkPoolWorker-1\] One task alone took this process to \d+ KiB")


def test_solo_says_that_it_replaces_nothing(project: Project, client: Client) -> None:
    write(project, worker_max_tasks_per_child=1)
    with project.worker("-P", "solo") as worker:
        assert client.run("pid") == client.run("pid")
        assert "worker_max_tasks_per_child has no effect with -P solo" in worker.log


@pytest.mark.parametrize("pool", ["prefork", "asyncio"])
def test_a_coroutine_that_refuses_to_end_does_not_keep_its_child_from_being_replaced(
    pool: str, project: Project, client: Client
) -> None:
    project.write("tasks", _TASKS + _STUBBORN + "app.conf.worker_max_tasks_per_child = 1\n")
    client.task("leave_behind").delay()
    result = client.task("pid").delay()
    with project.worker("-P", pool, "-c", 1) as worker:
        assert result.get(timeout=30)
        worker.wait_for("left a coroutine or a thread of its event loop behind")
        assert worker.stop() == 0
        assert "ERROR" not in worker.log
