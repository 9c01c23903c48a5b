"""Who may work: leases that outlast whatever a task does, workers that were stopped, and what waits behind others."""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from celeriac import AsyncResult, Celery
from support.gate import Gate
from support.processes import alive, machine_load, needs_proc, tree_of
from support.project import Client, Project
from support.redis_server import RedisServer
from support.waiting import until
from support.worker import WorkerProcess

Figure = Callable[[str], None]

_LEASE_S = 1.0

#: Tasks that wait where an interruption reaches them in every pool, and say at the gate that they do.
_TASKS = """
import asyncio
import time

from celeriac.exceptions import LeaseLost


def say_to_gate(port, word):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"{os.getpid()} {word}\\n".encode())
        return connection.recv(1)


def wait_for_gate(port, word):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setblocking(False)
        connection.sendall(f"{os.getpid()} {word}\\n".encode())
        while True:
            try:
                return connection.recv(1)
            except BlockingIOError:
                time.sleep(0.005)


@app.task
def linger(port, word=""):
    wait_for_gate(port, word)
    return os.getpid()


@app.task
def stubborn(port):
    try:
        wait_for_gate(port, "stubborn")
    except LeaseLost:
        say_to_gate(port, "interrupted")
        return "stale"
    return "fresh"


@app.task(autoretry_for=(Exception,), max_retries=5)
def eager_to_retry(port):
    wait_for_gate(port, "")


@app.task
async def linger_async(port, word=""):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{os.getpid()} {word}\\n".encode())
    try:
        await reader.read(1)
    finally:
        writer.close()
    return os.getpid()
"""

pytestmark = needs_proc


class Site:
    """A project on a store, and its client."""

    def __init__(self, project: Project, client: Client, url: str | None, **settings: object) -> None:
        store = {} if url is None else {"broker_url": url, "broker_connection_timeout": 1.0}
        project.with_common_tasks(worker_lease=_LEASE_S, **store, **settings)
        add_to_tasks(project, _TASKS)
        self.project = project
        self.client = client

    def worker(self, *options: str | int) -> WorkerProcess:
        return self.project.worker(*options)

    def node_ids(self) -> list[str]:
        return [state.node.id for state in self.client.app.broker.nodes()]

    def send_together(self, *calls: tuple[object, ...]) -> list[AsyncResult[object]]:
        """So that they are there for one claim."""
        broker = self.client.app.broker
        broker.pause("celery")
        results = [self.client.send(str(name), *args) for name, *args in calls]
        broker.resume("celery")
        return results


def add_to_tasks(project: Project, text: str) -> None:
    tasks = project.folder / "tasks.py"
    tasks.write_text(tasks.read_text(encoding="utf-8") + text, encoding="utf-8")


class RedisClient(Client):
    def __init__(self, url: str) -> None:
        self.app = Celery("client", broker=url)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def redis(project: Project, server: RedisServer) -> Iterator[Site]:
    with RedisClient(server.url()) as client:
        yield Site(project, client, server.url())


@pytest.fixture(params=["sqlite", "redis"])
def site(request: pytest.FixtureRequest, project: Project) -> Iterator[Site]:
    if request.param == "redis":
        yield request.getfixturevalue("redis")
    else:
        with project.client() as client:
            yield Site(project, client, None)


# ── a worker that was taken for dead ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("pool", "task"),
    [
        ("prefork", "linger"),
        ("prefork", "linger_async"),
        ("threads", "linger"),
        ("threads", "linger_async"),
        ("asyncio", "linger"),
        ("asyncio", "linger_async"),
        ("solo", "linger"),
    ],
)
def test_a_worker_stopped_for_three_leases_cancels_and_goes_on_under_a_new_id(
    pool: str, task: str, redis: Site, gate: Gate
) -> None:
    with redis.worker("-P", pool, "-c", 1) as stopped:
        result = redis.client.send(task, gate.port)
        first = gate.arrival()
        before = set(redis.node_ids())
        stopped.tell_group(signal.SIGSTOP)
        with redis.worker("-c", 1) as other:
            second = gate.arrival()
            assert second.pid != first.pid
            time.sleep(3 * _LEASE_S)
            stopped.tell_group(signal.SIGCONT)
            stopped.wait_for(r"ERROR/MainProcess\] This worker is not known any more.* new id")
            stopped.wait_for(rf"Task tasks\.{task}\[{result.id}\] is cancelled: its lease has gone to another worker")
            stopped.wait_for(r"Refused: .*\(1 so far\)")
            second.open()
            assert result.get(timeout=30) == second.pid
            assert other.stop() == 0
        assert redis.client.run("add", 1, 1) == 2
        (node_id,) = redis.node_ids()
        assert node_id not in before
        assert "Traceback" not in stopped.log
        assert "raised unexpected" not in stopped.log
        assert stopped.stop() == 0
    assert result.get(timeout=30) == second.pid
    assert redis.node_ids() == []
    assert redis.client.app.broker.dead() == []


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_the_result_of_a_stopped_worker_is_refused_and_the_others_stands(pool: str, redis: Site, gate: Gate) -> None:
    with redis.worker("-P", pool, "-c", 1) as stopped:
        result = redis.client.send("stubborn", gate.port)
        gate.arrival()
        stopped.tell_group(signal.SIGSTOP)
        with redis.worker("-c", 1) as other:
            second = gate.arrival(30)
            stopped.tell_group(signal.SIGCONT)
            interrupted = gate.arrival()
            assert interrupted.word == "interrupted"
            interrupted.open()
            stopped.wait_for(r"Refused: .*\(1 so far\)")
            second.open()
            assert result.get(timeout=30) == "fresh"
            assert other.stop() == 0
        assert redis.client.run("add", 1, 1) == 2
        assert stopped.stop() == 0
    assert result.get(timeout=30) == "fresh"


def test_a_run_that_is_cancelled_for_its_lease_is_not_retried(redis: Site, gate: Gate) -> None:
    with redis.worker("-c", 1) as stopped:
        result = redis.client.send("eager_to_retry", gate.port)
        gate.arrival()
        stopped.tell_group(signal.SIGSTOP)
        with redis.worker("-c", 1) as other:
            second = gate.arrival(30)
            stopped.tell_group(signal.SIGCONT)
            stopped.wait_for(r"is cancelled: its lease has gone")
            second.open()
            assert result.get(timeout=30) is None
            assert other.stop() == 0
        assert gate.stays_empty(0.2)
        queue = redis.client.queue()
        assert (queue.ready, queue.leased, queue.delayed) == (0, 0, 0)


def test_a_run_that_cannot_be_cancelled_ends_with_its_process(redis: Site, gate: Gate) -> None:
    with redis.worker("-c", 1) as stopped:
        result = redis.client.send("hold_the_gil", gate.port, 600)
        first = gate.arrival()
        stopped.tell_group(signal.SIGSTOP)
        with redis.worker("-c", 1) as other:
            gate.arrival(30)
            stopped.tell_group(signal.SIGCONT)
            stopped.wait_for(rf"pid:{first.pid} is killed: what it was running cannot be cancelled")
            until(lambda: not alive(first.pid), "it is dead")
            other.kill()
        assert result.state == "PENDING"


def test_a_supervisor_stopped_alone_loses_its_childrens_work_and_comes_back(redis: Site, gate: Gate) -> None:
    with redis.worker("-c", 1) as stopped, redis.worker("-c", 1) as other:
        stopped.wait_until_ready()
        other.wait_until_ready()
        result = redis.client.send("linger", gate.port)
        first = gate.arrival()
        victim, rescuer = (stopped, other) if first.pid in tree_of(stopped.pid) else (other, stopped)
        victim.tell(signal.SIGSTOP)
        second = gate.arrival(3 * _LEASE_S + 10)
        first.open()  # its child works on: what it commits now is refused
        victim.wait_for(r"Refused: .*\(1 so far\)")
        # ... and it is given nothing more.
        last = redis.client.send("add", 1, 1)
        until(lambda: redis.client.queue().ready == 1, "nobody has taken it")
        victim.tell(signal.SIGCONT)
        assert last.get(timeout=30) == 2
        second.open()
        assert result.get(timeout=30) == second.pid
        assert rescuer.stop() == 0
        assert redis.client.run("add", 2, 2) == 4
        assert victim.stop() == 0


def test_a_child_stopped_alone_keeps_what_it_runs(site: Site, gate: Gate) -> None:
    with site.worker("-c", 1) as worker, site.worker("-c", 1) as other:
        worker.wait_until_ready()
        other.wait_until_ready()
        result = site.client.send("linger", gate.port)
        first = gate.arrival()
        os.kill(first.pid, signal.SIGSTOP)
        first.open()
        assert gate.stays_empty(3 * _LEASE_S)
        os.kill(first.pid, signal.SIGCONT)
        assert result.get(timeout=30) == first.pid
        assert "Refused" not in worker.log + other.log


def test_a_store_that_was_emptied_makes_workers_begin_anew(redis: Site, server: RedisServer, gate: Gate) -> None:
    with redis.worker("-c", 1) as worker:
        redis.client.send("linger", gate.port)
        gate.arrival()
        server.call("FLUSHALL")
        worker.wait_for("This worker is not known any more")
        assert redis.client.run("add", 1, 1) == 2
        assert worker.stop() == 0


def test_what_an_idle_child_got_when_it_was_stopped_is_run_by_another(redis: Site) -> None:
    with redis.worker("-c", 2) as worker:
        worker.wait_until_ready()
        first, second = worker.child_pids(2)
        for number in range(4):
            assert redis.client.run("add", number, 1) == number + 1
        for stopped in (first, second):
            os.kill(stopped, signal.SIGSTOP)
            results = [redis.client.send("add", number, 1) for number in range(4)]
            assert [result.get(timeout=30) for result in results] == [1, 2, 3, 4]
            os.kill(stopped, signal.SIGCONT)
        assert redis.client.run("add", 4, 1) == 5
        assert "died" not in worker.log
        assert worker.stop() == 0


# ── a child that does not get to what it holds ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_what_waits_behind_c_code_is_run_by_another_and_the_c_code_keeps_its_lease(
    pool: str, site: Site, gate: Gate, figure: Figure
) -> None:
    hog_s = 5 * _LEASE_S
    with site.worker("-P", pool, "-c", 1) as worker:
        for number in range(30):
            site.client.send("add", number, 1)
        assert site.client.run("add", 30, 1) == 31  # quick ones, so that it claims several at a time
        hog, *quick = site.send_together(("hold_the_gil", gate.port, hog_s), *(("add", n, 1) for n in range(10)))
        gate.arrival()
        began = time.monotonic()
        with site.worker("-c", 1) as other:
            assert [result.get(timeout=30) for result in quick] == list(range(1, 11))
            took_s = time.monotonic() - began
            assert hog.state == "PENDING"
            assert hog.get(timeout=30) == "held"
            assert gate.stays_empty(0.1)  # it ran once
            logs = worker.log + other.log
        figure(
            f"run by another after {took_s:.1f} s, its start included; the C code ran {hog_s:g} s, {_LEASE_S:g} s leased"
        )
        assert "does not get to what waits behind the task it is running: 10 tasks go back" in logs
        assert "Refused" not in logs
        assert "will run again" not in logs
        assert site.client.run("add", 1, 1) == 2


# ── death ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_killed_childs_task_starts_again_within_a_tenth_of_a_second(site: Site, gate: Gate, figure: Figure) -> None:
    took = []
    with site.worker("-c", 2) as worker:
        worker.wait_until_ready()
        with machine_load() as load:
            for _ in range(7):
                result = site.client.send("hold", gate.port)
                first = gate.arrival()
                worker.child_pids(2)
                os.kill(first.pid, signal.SIGKILL)
                killed = time.monotonic()
                second = gate.arrival()
                took.append(time.monotonic() - killed)
                second.open()
                result.get(timeout=30)
    median = statistics.median(took)
    figure(f"from kill -9 to the next run {median * 1000:.0f} ms (median of 7; most {max(took) * 1000:.0f})")
    assert median < (0.1 if load.at_rest else 2.0)


@pytest.mark.parametrize("rescuer", ["beside it", "started later"])
def test_a_dead_workers_task_starts_again_within_its_lease_and_five_seconds(
    rescuer: str, redis: Site, gate: Gate, figure: Figure
) -> None:
    with redis.worker("-c", 1) as worker:
        result = redis.client.send("linger", gate.port)
        gate.arrival()
        other = redis.worker("-c", 1)
        if rescuer == "beside it":
            with other:
                other.wait_until_ready()
                worker.kill()
                took_s = _second_run_after(time.monotonic(), gate, result)
        else:
            worker.kill()
            killed = time.monotonic()
            with other:
                took_s = _second_run_after(killed, gate, result)
    figure(f"{took_s:.1f} s after kill -9 of a worker whose lease is {_LEASE_S:g} s")
    assert took_s < _LEASE_S + 5


def _second_run_after(killed: float, gate: Gate, result: AsyncResult[object]) -> float:
    second = gate.arrival()
    took_s = time.monotonic() - killed
    second.open()
    assert result.get(timeout=30) == second.pid
    return took_s


def test_a_supervisor_killed_alone_takes_its_children_along_and_loses_nothing(redis: Site, gate: Gate) -> None:
    with redis.worker("-c", 2) as worker:
        result = redis.client.send("linger", gate.port)
        first = gate.arrival()
        family = [worker.template_pid, *worker.child_pids(2)]
        worker.tell(signal.SIGKILL)
        until(lambda: not any(map(alive, family)), "template and children are dead")
    with redis.worker("-c", 1):
        second = gate.arrival()
        assert second.pid != first.pid
        second.open()
        assert result.get(timeout=30) == second.pid


def test_a_system_that_has_no_process_for_a_child_has_the_worker_wait(project: Project, client: Client) -> None:
    project.with_common_tasks()
    add_to_tasks(
        project,
        """
_fork, _left = os.fork, [3]


def fork():
    if _left[0]:
        _left[0] -= 1
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return _fork()


os.fork = fork
""",
    )
    with project.worker("-c", 2) as worker:
        assert client.run("add", 1, 1) == 2
        worker.wait_for("No process can be started .*Resource temporarily unavailable")
        worker.wait_for("Processes can be started again")
        worker.child_pids(2)
        assert worker.log.count("No process can be started") == 1
        assert worker.stop() == 0


# ── the end, while the store is away ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_a_worker_ends_in_order_though_its_store_is_away(
    pool: str, project: Project, server: RedisServer, gate: Gate
) -> None:
    with RedisClient(server.url()) as client:
        site = Site(project, client, server.url(), worker_shutdown_grace=1.0)
        with site.worker("-P", pool, "-c", 1) as worker:
            client.send("linger", gate.port)
            arrival = gate.arrival()
            server.kill()
            arrival.open()  # it has a result that nobody takes
            worker.wait_for("The broker cannot be used")
            assert worker.stop(timeout_s=15) == 0
            assert "Traceback" not in worker.log


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_a_worker_that_finds_no_store_ends_at_once_when_told(pool: str, project: Project, server: RedisServer) -> None:
    server.kill()
    with RedisClient(server.url()) as client:
        site = Site(project, client, server.url())
        with site.worker("-P", pool, "-c", 1) as worker:
            worker.wait_for("The broker cannot be used")
            told = time.monotonic()
            assert worker.stop() == 0
            assert time.monotonic() - told < 8
            assert "Traceback" not in worker.log
