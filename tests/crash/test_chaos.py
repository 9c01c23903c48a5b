"""Worker after worker dies at points chosen by chance, some over what the one before had left; Redis dies as well."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from celeriac import AsyncResult, states
from celeriac.crashpoints import POINTS
from crash.fleet import Fleet
from crash.scale import Chance, patience, sized
from crash.stores import STORES, RedisStore
from support.processes import needs_proc
from support.worker import WorkerProcess

Figure = Callable[[str], None]
MakeFleet = Callable[..., Fleet]

pytestmark = [needs_proc, patience(180, 900)]

_ROUNDS = sized(4, 40)
_BATCH = 30
#: Task -> how often it runs where nobody dies, and how it may end.
_TASKS = {
    "work": (1, {states.SUCCESS}),
    "retrying": (2, {states.SUCCESS}),
    "rejecting": (2, {states.SUCCESS}),
    "failing": (1, {states.FAILURE}),
    "at_most_once": (1, {states.SUCCESS, states.FAILURE}),
}


@pytest.mark.parametrize("kind", STORES)
def test_deaths_at_any_points_in_any_order_lose_nothing(
    kind: str, make_fleet: MakeFleet, chance: Chance, figure: Figure
) -> None:
    fleet = make_fleet(kind, worker_lease=1.0, max_deliveries=1000)
    points = [point for point in POINTS if "-" not in point or kind.startswith(point.partition("-")[0])]
    sent: list[tuple[str, AsyncResult[int]]] = []
    orders = []
    for _ in range(_ROUNDS):
        for task in _TASKS:
            sent += [(task, result) for result in fleet.send(_BATCH // len(_TASKS), task)]
        order = f"{chance.choice(points)}:{chance.choice([1, 2, 3, 5, 8, 13])}"
        orders.append(order)
        with fleet.worker("-c", 2, CELERIAC_CRASH_AT=order) as worker:  # each of its processes dies there
            _wait(worker, chance.uniform(0.3, 1.5))
            if isinstance(fleet.store, RedisStore) and chance.random() < 0.3:
                fleet.store.server.kill()
                fleet.store.server.start()
            _wait(worker, chance.uniform(0.3, 1.5))
            worker.kill()
    dead = set(fleet.audit.read().by_process)
    with fleet.worker("-c", 4) as worker:
        worker.wait_until_ready()
        failed = 0
        for number, (task, result) in enumerate(sent):
            result.get(timeout=60, propagate=False)
            assert result.state in _TASKS[task][1], f"task {number} ({task})"
            failed += result.state == states.FAILURE
        fleet.wait_until_buried(failed)
        fleet.wait_until_known(1)
        assert worker.stop() == 0
    runs = fleet.audit.read()
    assert runs.started.keys() >= {number for number, (task, _) in enumerate(sent) if task != "at_most_once"}
    for number, processes in runs.started.items():
        among_the_living = [process for process in processes if process not in dead]
        task, _ = sent[number]
        assert task != "at_most_once" or len(processes) == 1
        most, _ = _TASKS[task]
        assert len(among_the_living) <= most, f"task {number} ran {len(among_the_living)} times where nobody died"
    fleet.assert_nothing_is_left(letters=failed)
    figure(f"lost 0 of {len(sent)} at {_ROUNDS} deaths at {', '.join(orders[:6])}... (seed {chance.number})")


def _wait(worker: WorkerProcess, time_s: float) -> None:
    """So long, or until it is dead: a child's death is not the end of it."""
    try:
        worker.wait(time_s)
    except AssertionError:
        pass
