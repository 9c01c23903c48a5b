"""Time limits in each pool: what they reach, what they leave alone, and that the worker goes on."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator

import pytest

from celeriac import states
from celeriac.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded
from support.gate import Gate
from support.processes import cpu_seconds, needs_proc, tree_of
from support.project import Client, Project
from support.waiting import until
from support.worker import WorkerProcess

_TASKS = """
import asyncio
import ctypes
import hashlib
import os
import re
import socket
import time

from celeriac import Celery
from celeriac.exceptions import SoftTimeLimitExceeded

app = Celery("tasks")


def at_gate(port, word=""):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"{os.getpid()} {word}\\n".encode())
        connection.recv(1)


def hashing():
    '''C code that lets go of the interpreter, and looks at no signal.'''
    data = bytes(1_000_000)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        hashlib.sha512(data)


WAYS = {
    "computing": lambda: sum(1 for _ in range(10**10)),
    "looping": lambda: [None for _ in iter(int, 1)],
    "sleeping": lambda: time.sleep(60),
    "reading": lambda: os.read(os.pipe()[0], 1),
    "hashing": hashing,
    "matching": lambda: re.match(r"(a+)+$", "a" * 60 + "b"),
    "holding the GIL": lambda: ctypes.PyDLL(None).sleep(60),
    "dawdling": lambda: [time.sleep(0.001) for _ in range(60_000)],
}


@app.task
def spend(way):
    WAYS[way]()


@app.task
def catch(way):
    try:
        WAYS[way]()
    except SoftTimeLimitExceeded:
        return "caught"


@app.task
def refuse(way):
    while True:
        try:
            WAYS[way]()
        except SoftTimeLimitExceeded:
            pass


async def forever():
    await asyncio.sleep(60)


async def group():
    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            child = tasks.create_task(forever())
            children.append(child)


children = []

ASYNC_WAYS = {
    "sleeping": forever,
    "gathering": lambda: asyncio.gather(forever(), forever()),
    "grouped": group,
    "in a thread": lambda: asyncio.to_thread(time.sleep, 2),
    "under a timeout": lambda: asyncio.wait_for(forever(), 60),
}


@app.task
async def aspend(way):
    await ASYNC_WAYS[way]()


@app.task
async def acatch(way):
    try:
        await ASYNC_WAYS[way]()
    except SoftTimeLimitExceeded:
        await asyncio.sleep(0)
        return "caught"


@app.task
async def how_children_ended():
    return [child.cancelled() for child in children]


@app.task
async def acompute():
    sum(1 for _ in range(10**10))


@app.task
async def arefuse():
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass


@app.task
async def abide(seconds):
    await asyncio.sleep(seconds)
    return os.getpid()


@app.task
def quick(x):
    return x


@app.task(acks_late=False)
def spend_at_most_once():
    time.sleep(60)


@app.task
def hold(port):
    at_gate(port)
    return "held"
"""

_POOLS = ["prefork", "threads", "asyncio", "solo"]
_MAIN_THREAD = ["prefork", "solo"]


def write(project: Project, **settings: object) -> Project:
    lines = "".join(f"app.conf.{name} = {value!r}\n" for name, value in settings.items())
    return project.write("tasks", _TASKS + lines)


def fails(client: Client, kind: type[Exception], task: str, *args: object) -> Exception:
    result = client.send(task, *args)
    error = result.get(timeout=30, propagate=False)
    assert type(error) is kind, error
    assert result.state == states.FAILURE
    return error  # type: ignore[no-any-return]


# ── soft ──


@pytest.fixture(scope="module", params=_POOLS)
def pool(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def limited(pool: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, WorkerProcess]]:
    project = write(Project(tmp_path_factory.mktemp(f"soft-{pool}")), task_soft_time_limit=0.3)
    with project.worker("-P", pool, "-c", 2) as worker, project.client() as client:
        worker.wait_until_ready()
        yield client, worker
        assert worker.stop() == 0, worker.log
        assert "was never retrieved" not in worker.log


@pytest.mark.parametrize("way", ["computing", "looping", "dawdling", "hashing"])
def test_a_plain_task_gets_its_soft_limit_and_the_worker_goes_on(
    way: str, limited: tuple[Client, WorkerProcess]
) -> None:
    client, _ = limited
    error = fails(client, SoftTimeLimitExceeded, "spend", way)
    assert str(error) == "SoftTimeLimitExceeded()"
    assert client.run("catch", way) == "caught"
    assert client.run("quick", 1) == 1


@pytest.mark.parametrize("way", ["sleeping", "reading", "matching"])
def test_in_a_main_thread_also_what_waits_in_c(way: str, pool: str, limited: tuple[Client, WorkerProcess]) -> None:
    if pool not in _MAIN_THREAD:
        pytest.skip("a thread sees it when it is back in Python")
    client, _ = limited
    assert client.run("catch", way) == "caught"
    assert client.run("quick", 1) == 1


@pytest.mark.parametrize("way", ["sleeping", "gathering", "grouped", "in a thread", "under a timeout"])
def test_a_coroutine_gets_its_soft_limit_and_the_worker_goes_on(
    way: str, limited: tuple[Client, WorkerProcess]
) -> None:
    client, _ = limited
    fails(client, SoftTimeLimitExceeded, "aspend", way)
    assert client.run("acatch", way) == "caught"
    assert client.run("quick", 1) == 1


def test_a_task_group_ends_its_children(limited: tuple[Client, WorkerProcess]) -> None:
    client, _ = limited
    client.run("acatch", "grouped")
    assert set(client.run("how_children_ended")) <= {True}


def test_a_coroutine_that_computes_gets_its_soft_limit_in_a_main_thread(
    pool: str, limited: tuple[Client, WorkerProcess]
) -> None:
    if pool not in _MAIN_THREAD:
        pytest.skip("elsewhere the loop has to get a turn")
    fails(limited[0], SoftTimeLimitExceeded, "acompute")


# ── hard ──


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio"])
@pytest.mark.parametrize("way", ["computing", "sleeping", "matching", "holding the GIL"])
def test_a_hard_limit_ends_any_plain_task_once_and_for_all(
    pool: str, way: str, project: Project, client: Client
) -> None:
    write(project, task_time_limit=0.5)
    with project.worker("-P", pool, "-c", 1) as worker:
        result = client.send("spend", way)
        behind = [client.send("quick", number) for number in range(3)]
        error = result.get(timeout=30, propagate=False)
        assert (type(error), error.args, str(error)) == (TimeLimitExceeded, (0.5,), "TimeLimitExceeded(0.5,)")
        assert [one.get(timeout=30) for one in behind] == [0, 1, 2]
        worker.wait_for(r"ERROR/MainProcess\] Process '\w+(-1)?' pid:\d+ is killed: a task ran longer than .* 0\.5 s")
        worker.wait_for(
            rf"Task tasks\.spend\[{result.id}\] has failed: it ran longer than its hard time limit of 0\.5 s"
        )
        (letter,) = until(client.app.broker.dead, "it is buried")
        assert (letter.task_id, letter.deliveries) == (result.id, 1)
        assert worker.log.count("is killed") == 1
        assert worker.stop() == 0


def test_a_task_that_ignores_its_soft_limit_meets_the_hard_one(project: Project, client: Client) -> None:
    write(project, task_time_limit=0.6, task_soft_time_limit=0.2)
    with project.worker("-c", 1):
        fails(client, TimeLimitExceeded, "refuse", "sleeping")
        assert client.run("quick", 1) == 1


def test_an_at_most_once_task_ends_with_the_same_error(project: Project, client: Client) -> None:
    write(project, task_time_limit=0.4)
    with project.worker("-c", 1):
        fails(client, TimeLimitExceeded, "spend_at_most_once")


def test_other_runs_of_a_killed_child_go_back_uncounted(project: Project, client: Client, gate: Gate) -> None:
    write(project)
    file = project.folder / "tasks.py"
    file.write_text(file.read_text() + "spend.time_limit = 0.5\n")
    with project.worker("-P", "threads", "-c", 2) as worker:
        innocent = client.send("hold", gate.port)
        gate.arrival()
        fails(client, TimeLimitExceeded, "spend", "sleeping")
        gate.arrival().open()
        assert innocent.get(timeout=30) == "held"
        worker.wait_for(rf"Task tasks\.hold\[{innocent.id}\] was interrupted and goes back")
        assert "(delivery " not in worker.log


def test_a_coroutine_at_its_hard_limit_harms_no_other(project: Project, client: Client) -> None:
    write(project, task_time_limit=0.6)
    file = project.folder / "tasks.py"
    file.write_text(file.read_text() + "abide.time_limit = 60\n")
    with project.worker("-P", "asyncio", "-c", 10) as worker:
        long = client.send("abide", 1.5)
        for way in ("sleeping", "gathering", "grouped"):
            error = fails(client, TimeLimitExceeded, "aspend", way)
            assert error.args == (0.6,)
        assert long.get(timeout=30) == worker.child_pids(1)[0]
        assert "is killed" not in worker.log


@pytest.mark.parametrize("task", ["arefuse", "acompute"])
def test_a_coroutine_that_will_not_end_is_killed_with_its_loop(task: str, project: Project, client: Client) -> None:
    write(project, task_time_limit=0.3)
    with project.worker("-P", "asyncio", "-c", 2) as worker:
        fails(client, TimeLimitExceeded, task)
        assert client.run("quick", 1) == 1
        assert worker.log.count("is killed") == 1


def test_tasks_that_end_around_their_hard_limit_each_end_once(
    project: Project, client: Client, figure: Callable[[str], None]
) -> None:
    """Whether a task at its limit is done or killed is decided once, and never against the next one."""
    write(project, task_time_limit=0.05, max_deliveries=1)
    with project.worker("-c", 2, level="warning") as worker:
        limited = client.task("abide").delay_many([(0.03 + 0.001 * number,) for number in range(40)])
        quick = client.task("quick").delay_many([(number,) for number in range(200)])
        ends = [result.get(timeout=60, propagate=False) for result in limited]
        assert [result.get(timeout=60) for result in quick] == list(range(200))
        killed = [end for end in ends if not isinstance(end, int)]
        assert {type(end) for end in killed} <= {TimeLimitExceeded}
        assert len(killed) >= 10
        assert worker.stop() == 0
        assert "Refused" not in worker.log
    figure(f"of 40 tasks that take from 30 to 70 ms, {len(killed)} were ended at their limit of 50 ms")


@needs_proc
def test_watching_deadlines_costs_next_to_nothing(
    project: Project, client: Client, gate: Gate, figure: Callable[[str], None]
) -> None:
    write(project, task_time_limit=60)
    with project.worker("-c", 2) as worker:
        client.send("hold", gate.port)
        gate.arrival()
        processes = tree_of(worker.pid)
        began, used = time.monotonic(), cpu_seconds(processes)
        time.sleep(3)
        share = (cpu_seconds(processes) - used) / (time.monotonic() - began)
    figure(f"{share:.2%} of a processor while a task with a hard limit runs")
    assert share < 0.02


# ── solo ──


def test_solo_refuses_a_hard_limit_that_it_cannot_hold(project: Project) -> None:
    write(project, task_time_limit=5)
    done = project.celeriac("-A", "tasks", "worker", "-P", "solo")
    assert done.returncode == 1
    assert "setting task_time_limit has a hard time limit" in done.stderr
    assert "-P prefork -c 1" in done.stderr
    write(project)
    file = project.folder / "tasks.py"
    file.write_text(file.read_text() + "spend.time_limit = 5\n")
    done = project.celeriac("-A", "tasks", "worker", "-P", "solo")
    assert "task tasks.spend has a hard time limit" in done.stderr


def test_what_the_log_says_of_a_soft_limit(project: Project, client: Client) -> None:
    write(project, task_soft_time_limit=0.2)
    with project.worker("-c", 1) as worker:
        result = client.send("spend", "sleeping")
        assert isinstance(result.get(timeout=30, propagate=False), SoftTimeLimitExceeded)
        assert result.traceback is not None
        assert re.match(
            r'Traceback \(most recent call last\):\n  File ".*/tasks\.py", line \d+, in spend\n', result.traceback
        )
        assert result.traceback.endswith("SoftTimeLimitExceeded: SoftTimeLimitExceeded()\n")
        until(lambda: result.traceback in worker.log, "the log has it too")
    assert os.path.exists(project.store)
