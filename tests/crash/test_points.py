"""A process dies at each named point of a task's life, the fleet goes on, and what then happened is what the docs say.

docs/guarantees.md has the same outcomes as a table for people.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from celeriac import AsyncResult
from celeriac.crashpoints import POINTS
from celeriac.exceptions import WorkerLostError
from crash.fleet import Fleet
from crash.scale import sized
from support.processes import needs_proc
from support.waiting import until
from support.worker import WorkerProcess

MakeFleet = Callable[..., Fleet]

pytestmark = needs_proc

_LEASE_S = 1.0
_BOTH = ("sqlite", "redis")
_APART = ("sqlite-files", "redis-servers")


@dataclass(frozen=True)
class Outcome:
    """How often the task began that was under way, and whether the run that ended it was told of a crash."""

    runs: int
    redelivered: bool = False


class Armed:
    """The environment of the one worker, or program, that dies once at a point."""

    def __init__(self, folder: Path, order: str) -> None:
        self._mark = folder / "died"
        self.environment = {"CELERIAC_CRASH_AT": order, "CELERIAC_CRASH_ONCE": str(self._mark)}

    def wait(self) -> None:
        until(self._mark.exists, "a process dies at the point")

    @property
    def died(self) -> bool:
        return self._mark.exists()


@pytest.fixture
def arm(tmp_path: Path) -> Callable[[str], Armed]:
    return lambda order: Armed(tmp_path, order)


# ── a child dies, and its supervisor sees to it ──────────────────────────────────────────────────────────────────────

CHILD = {
    "begun": Outcome(1),
    "claimed": Outcome(1),
    "taken": Outcome(1),
    "shown": Outcome(1, redelivered=True),
    "called": Outcome(1, redelivered=True),
    "returned": Outcome(2, redelivered=True),
    "ran": Outcome(2, redelivered=True),
    "unshown": Outcome(2),
    "settling": Outcome(2),
    "settled": Outcome(1),
}


@pytest.mark.parametrize("kind", _BOTH)
@pytest.mark.parametrize("point", CHILD)
def test_a_child_that_dies_repeats_at_most_what_it_had_not_settled(
    point: str, kind: str, make_fleet: MakeFleet, arm: Callable[[str], Armed]
) -> None:
    _die_in_a_child(make_fleet(kind), arm(point), CHILD[point])


@pytest.mark.parametrize("kind", _APART)
@pytest.mark.parametrize("point", ["settling", "stored", "settled"])
def test_with_results_elsewhere_a_stored_result_that_is_not_acknowledged_is_made_again(
    point: str, kind: str, make_fleet: MakeFleet, arm: Callable[[str], Armed]
) -> None:
    _die_in_a_child(make_fleet(kind), arm(point), Outcome(2) if point == "stored" else CHILD[point])


def _die_in_a_child(fleet: Fleet, armed: Armed, outcome: Outcome) -> None:
    results = fleet.send(8)
    with fleet.worker("-c", 1, **armed.environment) as worker:  # one child, so that task 0 is what it was at
        fleet.assert_all_done(results)
        assert worker.stop() == 0
    assert armed.died
    runs = fleet.audit.read()
    assert len(runs.started[0]) == outcome.runs
    assert (0 in runs.redelivered) == outcome.redelivered
    assert runs.repeated <= {0}
    fleet.assert_nothing_is_left()


@pytest.mark.parametrize("kind", _BOTH)
@pytest.mark.parametrize("point", ["settling", "settled"])
@pytest.mark.parametrize("task", ["retrying", "rejecting", "failing", "work with a callback"])
def test_what_a_run_causes_is_caused_once(
    task: str, point: str, kind: str, make_fleet: MakeFleet, arm: Callable[[str], Armed]
) -> None:
    """A retry, a requeue, a burial or a callback goes with the acknowledgement: neither without the other."""
    fleet, armed = make_fleet(kind), arm(point)
    name, _, linked = task.partition(" ")
    link = fleet.app.signature("tasks.work", (100,), immutable=True) if linked else None
    (result,) = fleet.send(1, name, link=link)
    with fleet.worker("-c", 1, **armed.environment) as worker:
        if task == "failing":
            assert isinstance(result.get(timeout=30, propagate=False), ArithmeticError)
        else:
            assert result.get(timeout=30) == 0
        if linked:
            fleet.audit.wait_until(lambda runs: 100 in runs.ended, "the callback has ended")
        assert worker.stop() == 0
    assert armed.died
    runs = fleet.audit.read()
    first_again = 1 if point == "settling" else 0
    assert len(runs.started[0]) == (2 if task in ("retrying", "rejecting") else 1) + first_again
    assert len(runs.started[100]) == (1 if linked else 0)
    fleet.assert_nothing_is_left(letters=1 if task == "failing" else 0)


@pytest.mark.parametrize("kind", _BOTH)
@pytest.mark.parametrize("point", ["marking", "marked"])
def test_an_at_most_once_run_that_is_marked_is_never_repeated(
    point: str, kind: str, make_fleet: MakeFleet, arm: Callable[[str], Armed]
) -> None:
    fleet, armed = make_fleet(kind, task_acks_late=False), arm(point)
    first, *others = fleet.send(4)
    with fleet.worker("-c", 1, **armed.environment) as worker:
        fleet.assert_all_done(others)
        if point == "marked":
            assert isinstance(first.get(timeout=30, propagate=False), WorkerLostError)
            fleet.wait_until_buried(1)
        else:
            assert first.get(timeout=30) == 0
        assert worker.stop() == 0
    assert armed.died
    runs = fleet.audit.read()
    assert len(runs.started[0]) == (0 if point == "marked" else 1)
    assert runs.repeated == set()
    fleet.assert_nothing_is_left(letters=1 if point == "marked" else 0)


@pytest.mark.parametrize("kind", _BOTH)
def test_a_child_that_dies_while_it_stops_gives_back_all_the_same(
    kind: str, make_fleet: MakeFleet, arm: Callable[[str], Armed]
) -> None:
    fleet, armed = make_fleet(kind), arm("returning")
    results = fleet.send(8, "work", 0.3)
    with fleet.worker("-c", 1, **armed.environment) as worker:
        fleet.wait_until_begun(1)
        assert worker.stop() == 0
    assert armed.died
    _end_with(fleet, results)
    runs = fleet.audit.read()
    assert runs.repeated <= {0, 1}  # what ran when it died, if it did not end in that instant
    assert runs.redelivered == set()  # an interruption, no crash of the task
    fleet.assert_nothing_is_left()


# ── a supervisor dies, or its template, and another worker goes on ───────────────────────────────────────────────────


@pytest.mark.parametrize("kind", _BOTH)
@pytest.mark.parametrize(
    "point", ["registering", "registered", "renewing", "renewed", "recovering", "forking", "forked"]
)
def test_a_worker_that_dies_while_it_starts_leaves_nothing_behind(
    point: str, kind: str, make_fleet: MakeFleet, arm: Callable[[str], Armed]
) -> None:
    fleet, armed = make_fleet(kind, worker_lease=_LEASE_S), arm(point)
    results = fleet.send(8)
    with fleet.worker("-c", 1, **armed.environment) as worker:
        assert worker.wait() in (1, -signal.SIGKILL)  # 1: only its template died
    assert armed.died
    _end_with(fleet, results)
    fleet.assert_nothing_is_left()
    assert fleet.audit.read().started.keys() == set(range(8))


@pytest.mark.parametrize("kind", _BOTH)
@pytest.mark.parametrize("point", ["renewing:3", "renewed:3"])
def test_what_a_dead_supervisors_children_ran_is_taken_over(
    point: str, kind: str, make_fleet: MakeFleet, arm: Callable[[str], Armed]
) -> None:
    fleet, armed = make_fleet(kind, worker_lease=_LEASE_S), arm(point)
    results = fleet.send(4, "work", 0.8)
    with fleet.worker("-c", 2, **armed.environment) as worker:
        assert worker.wait() == -signal.SIGKILL
    assert armed.died
    _end_with(fleet, results)
    runs = fleet.audit.read()
    assert len(runs.repeated) <= 2
    assert runs.redelivered >= runs.repeated
    fleet.assert_nothing_is_left()


@pytest.mark.parametrize("kind", _BOTH)
@pytest.mark.parametrize("point", ["seizing", "seized", "judging", "judged"])
def test_a_supervisor_that_dies_over_a_dead_child_counts_the_crash_once(
    point: str, kind: str, make_fleet: MakeFleet, arm: Callable[[str], Armed]
) -> None:
    # When all is settled the next child may have begun the task, and die in it with its supervisor: another crash.
    most = 3 if point == "judged" else 2
    fleet, armed = make_fleet(kind, worker_lease=_LEASE_S, max_deliveries=most), arm(point)
    results = fleet.send(1, "work", 0.5)
    with fleet.worker("-c", 1, **armed.environment) as worker:
        fleet.wait_until_begun(1)
        _kill_the_child(worker)
        assert worker.wait() == -signal.SIGKILL
    assert armed.died
    _end_with(fleet, results)
    runs = fleet.audit.read()
    assert 2 <= len(runs.started[0]) <= most
    assert runs.redelivered == {0}
    fleet.assert_nothing_is_left()


@pytest.mark.parametrize("kind", _BOTH)
@pytest.mark.parametrize("point", ["recovered", "judging", "judged"])
def test_a_worker_that_dies_over_a_dead_worker_counts_the_crash_once(
    point: str, kind: str, make_fleet: MakeFleet, arm: Callable[[str], Armed]
) -> None:
    fleet, armed = make_fleet(kind, worker_lease=_LEASE_S, max_deliveries=2), arm(point)
    results = fleet.send(1, "work", 0.5)
    with fleet.worker("-c", 1) as worker:
        fleet.wait_until_begun(1)
        worker.kill()
    with fleet.worker("-c", 1, "-Q", "other", **armed.environment) as worker:  # it gives back, and runs nothing
        assert worker.wait() == -signal.SIGKILL
    assert armed.died
    _end_with(fleet, results)
    runs = fleet.audit.read()
    assert len(runs.started[0]) == 2
    assert runs.redelivered == {0}
    fleet.assert_nothing_is_left()


@pytest.mark.parametrize("kind", _BOTH)
def test_a_worker_that_dies_while_it_leaves_is_forgotten(
    kind: str, make_fleet: MakeFleet, arm: Callable[[str], Armed]
) -> None:
    fleet, armed = make_fleet(kind, worker_lease=_LEASE_S), arm("leaving")
    results = fleet.send(4)
    with fleet.worker("-c", 1, **armed.environment) as worker:
        fleet.assert_all_done(results)
        assert worker.stop() == -signal.SIGKILL
    assert armed.died
    _end_with(fleet, [])
    assert fleet.audit.read().repeated == set()
    fleet.assert_nothing_is_left()


def _end_with(fleet: Fleet, results: list[AsyncResult[int]]) -> None:
    """Another worker ends what there is, and stops when the dead are forgotten."""
    with fleet.worker("-c", 2) as worker:
        worker.wait_until_ready()
        fleet.assert_all_done(results)
        fleet.wait_until_known(1)
        assert worker.stop() == 0


def _kill_the_child(worker: WorkerProcess) -> None:
    (child,) = until(worker.children, "the worker has a child")
    os.kill(child, signal.SIGKILL)


# ── a producer dies ──────────────────────────────────────────────────────────────────────────────────────────────────

#: Whether the task was published by a producer that died there.
PRODUCER = {
    "publishing": False,
    "published": True,
    "sqlite-committing": False,
    "sqlite-committed": True,
    "redis-sending": False,
    "redis-sent": True,
    "redis-answered": True,
}


@pytest.mark.parametrize(
    ("point", "kind"),
    [(point, kind) for point in PRODUCER for kind in _BOTH if "-" not in point or point.startswith(kind)],
)
def test_a_producer_that_dies_has_published_the_whole_task_or_nothing(
    point: str, kind: str, make_fleet: MakeFleet, arm: Callable[[str], Armed]
) -> None:
    fleet, armed = make_fleet(kind), arm(f"{point}:2")  # the first message makes tables and loads scripts
    dead = fleet.project.program(
        "import tasks; tasks.work.delay(0); tasks.work.delay(1)", **fleet.environment(), **armed.environment
    )
    assert dead.returncode == -signal.SIGKILL
    assert armed.died
    with fleet.worker("-c", 1) as worker:
        expected = {0, 1} if PRODUCER[point] else {0}
        fleet.audit.wait_until(lambda runs: runs.ended.keys() >= expected, "all that was published has ended")
        assert worker.stop() == 0
    runs = fleet.audit.read()
    assert runs.started.keys() == expected
    assert runs.repeated == set()
    fleet.assert_nothing_is_left()


# ── inside the engines ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "point", ["sqlite-committing", "sqlite-committed", "redis-sending", "redis-sent", "redis-answered"]
)
@pytest.mark.parametrize("nth", sized([2, 9], [2, 7, 16, 40]))
def test_whoever_dies_in_the_middle_of_a_store_operation_loses_nothing(
    point: str, nth: int, make_fleet: MakeFleet, arm: Callable[[str], Armed]
) -> None:
    """Supervisor or child, whoever comes there so many times first."""
    fleet = make_fleet(point.partition("-")[0], worker_lease=_LEASE_S)
    armed = arm(f"{point}:{nth}")
    results = fleet.send(60)
    with fleet.worker("-c", 2, **armed.environment) as worker:
        armed.wait()
        assert worker.stop() in (0, -signal.SIGKILL)  # 0: it was one of its children
    _end_with(fleet, results)
    assert len(fleet.audit.read().repeated) <= 2 * _MOST_UNSETTLED
    fleet.assert_nothing_is_left()


#: A task of 5 ms that is done is settled within some 10 ms; a busy machine may take longer.
_MOST_UNSETTLED = 20


@pytest.mark.parametrize("nth", [1, 20])
def test_due_work_is_promoted_whole_or_not_at_all(nth: int, make_fleet: MakeFleet, arm: Callable[[str], Armed]) -> None:
    """On Redis that happens within a script, in whose middle nobody can die but the server."""
    fleet, armed = make_fleet("sqlite"), arm(f"sqlite-promoted:{nth}")
    results = fleet.send(60, countdown=0.3)
    with fleet.worker("-c", 2, **armed.environment) as worker:
        fleet.assert_all_done(results)
        assert worker.stop() == 0
    assert armed.died
    assert fleet.audit.read().repeated == set()
    fleet.assert_nothing_is_left()


# ── the table ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_point_is_in_the_table_of_the_documentation() -> None:
    page = Path(__file__).parents[2] / "docs" / "guarantees.md"
    _, _, section = page.read_text().partition("(crash-points)=")
    rows = [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")]
    assert rows == list(POINTS)


def test_every_point_has_a_test() -> None:
    text = Path(__file__).read_text()
    assert [point for point in POINTS if f'"{point}' not in text and "-" not in point] == []
