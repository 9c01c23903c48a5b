"""kill -9, again and again, while 1,000 tasks run: nothing is lost, and nothing is repeated but what ran at a kill."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable

import pytest

from celeriac import AsyncResult, states
from celeriac.exceptions import WorkerLostError
from support.audit import TASKS, Audit, Runs
from support.processes import needs_proc
from support.project import Client, Project
from support.waiting import until

Figure = Callable[[str], None]
Results = dict[int, AsyncResult[int]]

_TASKS = 1000
_CHILDREN = 4

pytestmark = needs_proc


def test_children_killed_twenty_times_lose_nothing(project: Project, client: Client, figure: Figure) -> None:
    project.write("tasks", TASKS)
    results, runs, killed, seed = _kill_children(project, client, kills=20)
    assert {number: result.get(timeout=30) for number, result in results.items()} == {n: n for n in range(_TASKS)}
    _assert_only_the_killed_repeat(runs, killed)
    assert runs.started.keys() == set(range(_TASKS))
    # A child runs one task at a time. What it had not begun, or had finished, goes back as if it had never been lent.
    assert len(runs.redelivered) <= len(killed)
    assert len(runs.repeated) <= 20 * _MOST_UNSETTLED
    assert client.app.broker.dead() == []
    figure(f"lost 0 of {_TASKS}, ran twice {len(runs.repeated)} at {len(killed)} kills (seed {seed})")


@pytest.mark.parametrize("pool", ["threads", "asyncio"])
def test_one_child_with_all_slots_killed_ten_times_loses_nothing(
    pool: str, project: Project, client: Client, figure: Figure
) -> None:
    # Not what is tested here: a task may be unlucky at every other kill.
    project.write("tasks", TASKS + "\napp.conf.max_deliveries = 10\n")
    results, runs, killed, seed = _kill_children(project, client, kills=10, pool=pool)
    assert {number: result.get(timeout=30) for number, result in results.items()} == {n: n for n in range(_TASKS)}
    assert runs.started.keys() == set(range(_TASKS))
    for number in runs.repeated:
        assert set(runs.started[number][:-1]) <= killed, f"task {number} ran again though nobody was killed in it"
    assert len(runs.redelivered) <= len(killed) * _CHILDREN
    assert client.app.broker.dead() == []
    figure(f"lost 0 of {_TASKS}, ran twice {len(runs.repeated)} at {len(killed)} kills (seed {seed})")


def test_whole_workers_killed_ten_times_lose_nothing(project: Project, client: Client, figure: Figure) -> None:
    project.write("tasks", TASKS)
    audit = Audit(project.folder)
    seed = random.randrange(1_000_000)
    chance = random.Random(seed)
    print(f"seed {seed}")
    results: Results = {}
    killed: set[int] = set()
    for _ in range(10):
        batch = range(len(results), len(results) + _TASKS // 10)
        begun = chance.randint(1, len(batch))
        results |= _send(client, batch)
        with project.worker("-c", _CHILDREN, **audit.environment) as worker:
            audit.wait_until(lambda runs, batch=batch, begun=begun: runs.begun(batch) >= begun, f"{begun} of {batch}")
            worker.kill()
    killed.update(audit.read().by_process)
    with project.worker("-c", _CHILDREN, **audit.environment) as worker:
        worker.wait_until_ready()
        assert {number: result.get(timeout=30) for number, result in results.items()} == {n: n for n in range(_TASKS)}
        assert worker.stop() == 0
    runs = audit.read()
    _assert_only_the_killed_repeat(runs, killed)
    assert runs.started.keys() == set(range(_TASKS))
    assert len(runs.repeated) <= 10 * _CHILDREN * _MOST_UNSETTLED
    _assert_nothing_is_left(client)
    assert client.app.broker.dead() == []
    figure(f"lost 0 of {_TASKS}, ran twice {len(runs.repeated)} at 10 kills of {_CHILDREN} children each (seed {seed})")


def test_at_most_once_tasks_end_once_or_as_lost(project: Project, client: Client, figure: Figure) -> None:
    project.write("tasks", TASKS + "\napp.conf.task_acks_late = False\n")
    results, runs, killed, seed = _kill_children(project, client, kills=20)
    lost = set()
    for number, result in results.items():
        value = result.get(timeout=30, propagate=False)
        if isinstance(value, WorkerLostError):
            assert result.state == states.FAILURE
            lost.add(number)
        else:
            assert (result.state, value) == (states.SUCCESS, number)
    assert runs.repeated == set()
    assert {letter.task_id for letter in client.app.broker.dead(limit=1000)} == {results[number].id for number in lost}
    for number in lost & runs.started.keys():
        assert runs.started[number][0] in killed
    figure(
        f"ended once {_TASKS - len(lost)}, lost with their process and said so {len(lost)}, ran twice 0 "
        f"at {len(killed)} kills (seed {seed})"
    )


#: A task of 5 ms that is done is settled within some 10 ms; a busy machine may take longer.
_MOST_UNSETTLED = 20


def _kill_children(
    project: Project, client: Client, kills: int, pool: str = "prefork"
) -> tuple[Results, Runs, set[int], int]:
    """Kill one child at a time, at random, while tasks keep coming; return when all have ended."""
    audit = Audit(project.folder)
    seed = random.randrange(1_000_000)
    chance = random.Random(seed)
    print(f"seed {seed}")
    results: Results = {}
    killed: set[int] = set()
    with project.worker("-P", pool, "-c", _CHILDREN, **audit.environment) as worker:
        worker.wait_until_ready()
        for _ in range(kills):
            batch = range(len(results), len(results) + _TASKS // kills)
            begun = chance.randint(1, len(batch))
            results |= _send(client, batch)
            audit.wait_until(lambda runs, batch=batch, begun=begun: runs.begun(batch) >= begun, f"{begun} of {batch}")
            victim = chance.choice(until(worker.children, "some child lives"))
            os.kill(victim, signal.SIGKILL)
            killed.add(victim)
        for result in results.values():
            result.get(timeout=30, propagate=False)
        assert worker.stop() == 0
        assert "Refused" not in worker.log
        assert "Traceback" not in worker.log
    _assert_nothing_is_left(client)
    return results, audit.read(), killed, seed


def _send(client: Client, numbers: range) -> Results:
    """Send tasks together."""
    work = client.task("work")

    async def send() -> list[AsyncResult[int]]:
        return await asyncio.gather(*(work.adelay(number) for number in numbers))

    return dict(zip(numbers, asyncio.run(send()), strict=True))


def _assert_only_the_killed_repeat(runs: Runs, killed: set[int]) -> None:
    """A killed process loses what it had not settled: the last of what it started, and nothing that came before."""
    for number in runs.repeated:
        assert set(runs.started[number][:-1]) <= killed, f"task {number} ran again though nobody was killed in it"
    for process in killed:
        numbers = runs.by_process[process]
        again = [number for number in numbers if runs.started[number][-1] != process]
        assert again == numbers[len(numbers) - len(again) :]


def _assert_nothing_is_left(client: Client) -> None:
    queue = client.queue()
    assert (queue.ready, queue.leased, queue.delayed) == (0, 0, 0)
    assert client.app.broker.nodes() == []
