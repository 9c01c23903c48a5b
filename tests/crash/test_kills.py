"""kill -9, again and again, while tasks of 5 ms run: nothing is lost, and nothing repeated but what ran at a kill."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from celeriac import states
from celeriac.exceptions import WorkerLostError
from crash.accounts import assert_only_the_killed_repeat
from crash.fleet import Fleet
from crash.scale import Chance, patience, sized
from support.processes import alive, needs_proc, tree_of
from support.waiting import until
from support.worker import WorkerProcess

Figure = Callable[[str], None]
MakeFleet = Callable[..., Fleet]

pytestmark = [needs_proc, patience(240, 900)]

_TASKS = sized(1500, 3000)
_CHILDREN = 4
#: That a task is unlucky at every other kill is not what is tested here.
_SETTINGS = {"worker_lease": 1.0, "max_deliveries": 50}
_BOTH = pytest.mark.parametrize("kind", ["sqlite", "redis"])


@_BOTH
def test_children_killed_forty_times_lose_nothing(
    kind: str, make_fleet: MakeFleet, chance: Chance, figure: Figure
) -> None:
    fleet, kills = make_fleet(kind, **_SETTINGS), 40
    killed = _kill_children(fleet, chance, kills)
    runs = fleet.audit.read()
    assert_only_the_killed_repeat(runs, killed)
    # A child runs one task at a time. What it had not begun, or had finished, goes back as if it had never been lent.
    assert len(runs.redelivered) <= kills
    figure(f"lost 0 of {_TASKS}, ran twice {len(runs.repeated)} at {kills} kills of a child (seed {chance.number})")


@pytest.mark.parametrize("kind", sized(["sqlite"], ["sqlite", "redis"]))
@pytest.mark.parametrize("pool", ["threads", "asyncio"])
def test_one_child_with_all_slots_killed_ten_times_loses_nothing(
    pool: str, kind: str, make_fleet: MakeFleet, chance: Chance, figure: Figure
) -> None:
    fleet, kills = make_fleet(kind, **_SETTINGS), sized(5, 10)
    killed = _kill_children(fleet, chance, kills, "-P", pool)
    runs = fleet.audit.read()
    for number in runs.repeated:
        assert set(runs.started[number][:-1]) <= killed, f"task {number} ran again though nobody was killed in it"
    assert len(runs.redelivered) <= kills * _CHILDREN
    figure(f"lost 0 of {_TASKS}, ran twice {len(runs.repeated)} at {kills} kills (seed {chance.number})")


def _kill_children(fleet: Fleet, chance: Chance, kills: int, *options: str) -> set[int]:
    """Kill a child at a time, at random, and end in order."""
    results = fleet.send(_TASKS)
    killed: set[int] = set()
    with fleet.worker("-c", _CHILDREN, *options) as worker:
        for begun in _moments(chance, kills):
            fleet.wait_until_begun(begun)
            # One that was killed a moment ago may still be seen, and be gone before it is killed again.
            living = until(lambda: set(worker.children()) - killed, "some child lives")
            victim = chance.choice(sorted(living))
            os.kill(victim, signal.SIGKILL)
            killed.add(victim)
        fleet.assert_all_done(results)
        assert worker.stop() == 0
        assert "Refused" not in worker.log
        assert "Traceback" not in worker.log
    fleet.assert_nothing_is_left()
    return killed


@_BOTH
@pytest.mark.parametrize("who", ["the whole group", "the supervisor alone"])
def test_workers_killed_twenty_times_lose_nothing(
    who: str, kind: str, make_fleet: MakeFleet, chance: Chance, figure: Figure
) -> None:
    fleet, kills = make_fleet(kind, **_SETTINGS), sized(4, 20)
    results = fleet.send(_TASKS)
    for begun in _moments(chance, kills):
        with fleet.worker("-c", _CHILDREN) as worker:
            fleet.wait_until_begun(begun)
            if who == "the whole group":
                worker.kill()
            else:
                _kill_the_supervisor(worker)
    killed = set(fleet.audit.read().by_process)
    with fleet.worker("-c", _CHILDREN) as worker:
        worker.wait_until_ready()
        fleet.assert_all_done(results)
        fleet.wait_until_known(1)
        assert worker.stop() == 0
    runs = fleet.audit.read()
    assert_only_the_killed_repeat(runs, killed)
    fleet.assert_nothing_is_left()
    figure(f"lost 0 of {_TASKS}, ran twice {len(runs.repeated)} at {kills} kills of {who} (seed {chance.number})")


def _kill_the_supervisor(worker: WorkerProcess) -> None:
    """Nobody tells its children: they have to find out."""
    below = tree_of(worker.pid)[1:]
    worker.tell(signal.SIGKILL)
    until(lambda: not any(map(alive, below)), "its template and its children die with it")


@_BOTH
def test_at_most_once_tasks_end_once_or_as_lost(
    kind: str, make_fleet: MakeFleet, chance: Chance, figure: Figure
) -> None:
    fleet, kills, count = make_fleet(kind, worker_lease=1.0, task_acks_late=False), 20, sized(500, 1000)
    results = fleet.send(count)
    killed: set[int] = set()
    with fleet.worker("-c", _CHILDREN) as worker:
        for begun in _moments(chance, kills, count):
            fleet.wait_until_begun(begun)
            # One that was killed a moment ago may still be seen, and be gone before it is killed again.
            living = until(lambda: set(worker.children()) - killed, "some child lives")
            victim = chance.choice(sorted(living))
            os.kill(victim, signal.SIGKILL)
            killed.add(victim)
        lost = set()
        for number, result in enumerate(results):
            value = result.get(timeout=60, propagate=False)
            if isinstance(value, WorkerLostError):
                assert result.state == states.FAILURE
                lost.add(number)
            else:
                assert (result.state, value) == (states.SUCCESS, number)
        fleet.wait_until_buried(len(lost))
        assert worker.stop() == 0
    runs = fleet.audit.read()
    assert runs.repeated == set()
    assert {letter.task_id for letter in fleet.app.broker.dead(limit=1000)} == {results[number].id for number in lost}
    for number in lost & runs.started.keys():
        assert runs.started[number][0] in killed
    fleet.assert_nothing_is_left(letters=len(lost))
    figure(
        f"ended once {count - len(lost)}, lost with their process and said so {len(lost)}, ran twice 0 "
        f"at {kills} kills (seed {chance.number})"
    )


def _moments(chance: Chance, kills: int, count: int = _TASKS) -> Iterator[int]:
    """When to kill: after so many tasks have begun, in rising order."""
    yield from sorted(chance.sample(range(10, count * 9 // 10), kills))
