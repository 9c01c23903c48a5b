"""The pools: how many tasks run at a time and where, how they stop, and what their deaths cost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from celeriac import states
from support.gate import Gate
from support.processes import alive, machine_load, needs_proc
from support.project import Client, Project
from support.redis_server import RedisServer
from support.waiting import until

_SLOTS = 3
_STOPPING = r"celeriac: stopping; running tasks have 25 s to finish, the rest goes back \(again: at once\)"

in_each_pool = pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio"])
in_one_child = pytest.mark.parametrize("pool", ["threads", "asyncio"])
plain_and_async = pytest.mark.parametrize("task", ["hold", "hold_async"])

_TASKS = """

@app.task
async def hold_async(port, word=""):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{os.getpid()} {word}\\n".encode())
    await writer.drain()
    await reader.read(1)
    writer.close()
    return word


@app.task(bind=True)
def whoami(self, port):
    at_gate(port, self.request.id)
    return self.request.id


@app.task(bind=True)
async def whoami_async(self, port):
    await hold_async.run(port, self.request.id)
    return self.request.id


@app.task
async def leave_behind():
    '''A coroutine that outlives its task, and raises SystemExit.'''
    async def leave():
        await asyncio.sleep(0)
        sys.exit(3)
    left.append(asyncio.create_task(leave()))

left = []


@app.task
async def short_nap():
    await asyncio.sleep(0.1)


@app.task
def say(word):
    print(word)


@app.task
def stop_iteration():
    raise StopIteration("no more")
"""


@pytest.fixture
def project(project: Project) -> Project:
    return with_tasks(project)


def with_tasks(project: Project, **settings: object) -> Project:
    project.with_common_tasks(**settings)
    file = project.folder / "tasks.py"
    file.write_text(file.read_text() + _TASKS)
    return project


@in_each_pool
@plain_and_async
def test_as_many_tasks_run_at_a_time_as_there_are_slots(
    pool: str, task: str, project: Project, client: Client, gate: Gate
) -> None:
    with project.worker("-P", pool, "-c", _SLOTS) as worker:
        results = [client.send(task, gate.port, str(number)) for number in range(_SLOTS + 2)]
        arrivals = [gate.arrival() for _ in range(_SLOTS)]
        assert gate.stays_empty(0.3)
        until(lambda: client.queue().leased == _SLOTS, "the rest waits in the store")
        assert len({arrival.pid for arrival in arrivals}) == (_SLOTS if pool == "prefork" else 1)
        arrivals[0].open()
        gate.arrival().open()
        for arrival in arrivals:
            arrival.open()
        gate.arrival().open()
        assert [result.get(timeout=30) for result in results] == [str(number) for number in range(_SLOTS + 2)]
        assert worker.stop() == 0
        assert "Traceback" not in worker.log


@in_one_child
def test_plain_and_async_tasks_run_beside_each_other(pool: str, project: Project, client: Client, gate: Gate) -> None:
    with project.worker("-P", pool, "-c", 2):
        client.send("hold", gate.port, "plain")
        client.send("hold_async", gate.port, "async")
        assert {gate.arrival().word, gate.arrival().word} == {"plain", "async"}


@in_one_child
@pytest.mark.parametrize("task", ["whoami", "whoami_async"])
def test_each_run_knows_itself(pool: str, task: str, project: Project, client: Client, gate: Gate) -> None:
    with project.worker("-P", pool, "-c", _SLOTS):
        results = [client.send(task, gate.port) for _ in range(_SLOTS)]
        arrivals = {arrival.word: arrival for arrival in (gate.arrival() for _ in range(_SLOTS))}
        assert arrivals.keys() == {result.id for result in results}
        for result in reversed(results):
            arrivals[result.id].open()
            assert result.get(timeout=30) == result.id


_BREAKS_ONCE = """

from pathlib import Path
from celeriac.worker.board import Board

end = Board.end

def broken_end(board, slot):
    if not Path("broken").exists():
        Path("broken").touch()
        raise RuntimeError("the slot breaks")
    end(board, slot)

Board.end = broken_end
"""


@in_each_pool
def test_a_slot_that_breaks_takes_its_process_along_and_no_task_is_lost(
    pool: str, project: Project, client: Client
) -> None:
    file = project.folder / "tasks.py"
    file.write_text(file.read_text() + _BREAKS_ONCE)
    with project.worker("-P", pool, "-c", 1):
        results = [client.send("short_nap") for _ in range(3)]
        assert [result.get(timeout=30) for result in results] == [None] * 3
    assert (project.folder / "broken").exists()


def test_the_log_names_the_thread(project: Project, client: Client) -> None:
    with project.worker("-P", "threads", "-c", 1) as worker:
        client.run("say", "hello")
        worker.wait_for(r"WARNING/ThreadPoolWorker-1\] hello\n")
        worker.wait_for(r"INFO/ThreadPoolWorker-1\] Task tasks\.say\[\S+\] succeeded")


def test_what_threads_print_at_the_same_time_stays_apart(project: Project, client: Client) -> None:
    with project.worker("-P", "threads", "-c", 4) as worker:
        results = client.task("say").delay_many([(f"word {number:03}",) for number in range(200)])
        for result in results:
            result.get(timeout=30)
        for number in range(200):
            worker.wait_for(rf"\] word {number:03}\n")


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio", "solo"])
def test_an_exception_that_no_future_can_carry_is_a_failure_like_any(
    pool: str, project: Project, client: Client
) -> None:
    with project.worker("-P", pool, "-c", 1):
        result = client.send("stop_iteration")
        until(lambda: result.state == states.FAILURE, "it failed")
        assert client.run("add", 1, 2) == 3


def test_a_coroutine_left_behind_does_not_end_the_event_loop(project: Project, client: Client) -> None:
    with project.worker("-P", "asyncio", "-c", 2) as worker:
        client.run("leave_behind")
        worker.wait_for(r"A coroutine left behind by a task raised SystemExit\(3\)")
        assert client.run("nap", 5) == 5
        assert len(worker.child_pids(1)) == 1
        assert worker.stop() == 0


@in_one_child
def test_a_task_begins_at_once_while_others_run(pool: str, project: Project, client: Client, gate: Gate) -> None:
    with project.worker("-P", pool, "-c", 8) as worker:
        worker.wait_until_ready()
        client.send("hold_async", gate.port)
        gate.arrival()
        with machine_load() as load:
            began = time.monotonic()
            for _ in range(6):
                client.send("hold_async", gate.port)
                gate.arrival()
            took_s = time.monotonic() - began
        assert took_s < (1.0 if load.at_rest else 5.0)  # the child looks by itself only once in a second


# ── stopping ──


@in_one_child
@plain_and_async
def test_a_signal_lets_all_running_tasks_finish_and_gives_back_the_rest(
    pool: str, task: str, project: Project, client: Client, gate: Gate
) -> None:
    with project.worker("-P", pool, "-c", _SLOTS) as worker:
        running = [client.send(task, gate.port, "finished") for _ in range(_SLOTS)]
        arrivals = [gate.arrival() for _ in range(_SLOTS)]
        waiting = [client.send(task, gate.port) for _ in range(2)]
        worker.tell()
        worker.wait_for(_STOPPING)
        assert gate.stays_empty(1.2)  # longer than it takes anything in the child to notice
        arrivals[0].open()
        until(lambda: any(result.ready() for result in running), "one has ended")
        assert gate.stays_empty(0.2)  # a slot is free, and takes nothing
        for arrival in arrivals:
            arrival.open()
        assert worker.wait() == 0
        assert [result.get(timeout=30) for result in running] == ["finished"] * _SLOTS
        assert [result.state for result in waiting] == [states.PENDING] * 2
        assert (client.queue().ready, client.queue().leased) == (2, 0)
        assert "Traceback" not in worker.log


@needs_proc
@in_one_child
@plain_and_async
def test_what_still_runs_at_the_end_of_the_grace_period_goes_back_uncounted(
    pool: str, task: str, project: Project, client: Client, gate: Gate
) -> None:
    with_tasks(project, worker_shutdown_grace=0.3)
    with project.worker("-P", pool, "-c", 2) as worker:
        for _ in range(2):
            client.send(task, gate.port)
        gate.arrival()
        pid = gate.arrival().pid
        assert worker.stop() == 0
        until(lambda: not alive(pid), "the child is dead")
        assert "Stopping 2 running tasks at once" in worker.log
        assert worker.log.count("was interrupted and goes back") == 2
        assert (client.queue().ready, client.queue().leased) == (2, 0)


def test_a_solo_worker_gives_back_what_outlasts_the_grace_period(project: Project, client: Client, gate: Gate) -> None:
    with_tasks(project, worker_shutdown_grace=0.3)
    with project.worker("-P", "solo") as worker:
        result = client.send("facts", gate.port)
        gate.arrival()
        assert worker.stop() == 0
        assert "Stopping 1 running task at once" in worker.log
        assert f"Task tasks.facts[{result.id}] was interrupted and goes back to its queue" in worker.log
        assert (client.queue().ready, client.queue().leased) == (1, 0)
        assert client.app.broker.nodes() == []
    with project.worker("-c", 1):
        again = gate.arrival()
        assert again.word.endswith(" False")  # not counted as a delivery


# ── dying ──


@needs_proc
@in_one_child
@plain_and_async
def test_a_killed_child_loses_nothing(pool: str, task: str, project: Project, client: Client, gate: Gate) -> None:
    with project.worker("-P", pool, "-c", _SLOTS) as worker:
        results = [client.send(task, gate.port, str(number)) for number in range(_SLOTS + 3)]
        arrivals = [gate.arrival() for _ in range(_SLOTS)]
        os.kill(arrivals[0].pid, signal.SIGKILL)
        for _ in results:
            gate.arrival().open()
        assert [result.get(timeout=30) for result in results] == [str(number) for number in range(_SLOTS + 3)]
        assert worker.log.count("will run again: its process ended with signal 9 (SIGKILL) (delivery 1 of 3)") == _SLOTS
        assert client.app.broker.dead() == []
        assert worker.stop() == 0


@in_one_child
def test_a_task_that_kills_its_process_takes_no_innocent_one_along(
    pool: str, project: Project, client: Client, gate: Gate
) -> None:
    """They die with it twice; then each has its last chance alone."""
    with project.worker("-P", pool, "-c", _SLOTS):
        innocent = [client.send("hold", gate.port, "innocent") for _ in range(_SLOTS - 1)]
        guilty = client.send("kill_own_process", gate.port)
        for _ in range(2):
            arrivals = [gate.arrival() for _ in range(_SLOTS)]
            (killer,) = [arrival for arrival in arrivals if arrival.word != "innocent"]
            killer.open()
        for _ in range(_SLOTS):
            alone = gate.arrival()
            assert gate.stays_empty(0.3)
            alone.open()
        assert [result.get(timeout=30) for result in innocent] == ["innocent"] * (_SLOTS - 1)
        assert type(guilty.get(timeout=30, propagate=False)).__name__ == "WorkerLostError"
        (letter,) = until(client.app.broker.dead, "it is buried")  # by whoever has called its handlers
        assert letter.task_id == guilty.id


# ── speed ──


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_ten_thousand_coroutines_that_wait_take_little_longer_than_their_waits(
    store: str, project: Project, gate: Gate, figure: Callable[[str], None]
) -> None:
    count, at_a_time, nap_s = 10_000, 1000, 0.1
    with RedisServer(project.folder / "redis") as redis:
        url = redis.url() if store == "redis" else f"sqlite:///{project.folder}/tasks.db"
        with_tasks(project, broker_url=url)
        with Client(project.folder / "tasks.db") as client, machine_load() as load:
            client.app.conf.broker_url = url
            client.app.close()
            results = client.task("short_nap").delay_many([()] * count)
            with project.worker("-P", "asyncio", "-c", at_a_time, level="warning") as worker:
                worker.wait_for(r"tasks\.short_nap")
                began = time.monotonic()
                until(lambda: client.queue() == type(client.queue())("celery", 0, 0, 0, 0), "all have ended", 60)
                took_s = time.monotonic() - began
                assert worker.stop() == 0
            assert results[0].state == results[-1].state == states.SUCCESS
    least_s = count / at_a_time * nap_s
    figure(f"{count} tasks of {nap_s} s, {at_a_time} at a time: {took_s:.2f} s (at least {least_s:g}) on {store}")
    assert took_s < (3 * least_s if load.at_rest else 30)
