import asyncio
import contextvars

import pytest

from celeriac.documents import Document
from celeriac.engines.base import Ack
from celeriac.execution.executor import Executor
from celeriac.worker.board import Board
from celeriac.worker.memory import MemoryLimit
from celeriac.worker.pools.workplace import Workplace, run_slot


class Courier:
    """Brings what it was given, and keeps what is settled."""

    def __init__(self, leases):
        self.leases = leases
        self.commits = []

    def next(self):
        return self.leases.pop(0) if self.leases else None

    def settle(self, commit):
        self.commits.append(commit)


@pytest.fixture
def board():
    board = Board.create(slots=1)
    yield board
    board.close()


@pytest.fixture
def run(app, board):
    def run(*leases, **more):
        courier = Courier(list(leases))
        run_slot(Workplace(Executor(app, "celery@unit", courier), courier, board, **more))
        return courier.commits

    return run


def test_a_slot_runs_what_the_courier_brings_until_it_brings_no_more(app, run, make_lease):
    app.task(name="unit.double")(lambda x: 2 * x)
    commits = run(*(make_lease(task="unit.double", args=[n], token=n) for n in (1, 2)))
    assert [(commit.token, commit.settle) for commit in commits] == [(1, Ack()), (2, Ack())]
    assert [Document.decode("id-1", commit.record.body).result for commit in commits] == [2, 4]


def test_the_board_shows_the_running_lease_and_nothing_afterwards(app, run, board, make_lease):
    seen = []
    app.task(name="unit.look")(lambda: seen.append(board.running()))
    run(make_lease(task="unit.look", token=9))
    assert seen == [{9}]
    assert board.running() == set()


def test_the_event_loop_is_closed_at_the_end(app, run, make_lease):
    loops = []

    @app.task(name="unit.look")
    async def look():
        loops.append(asyncio.get_running_loop())

    run(make_lease(task="unit.look"))
    assert loops[0].is_closed()


def test_all_coroutine_functions_of_a_slot_share_a_loop(app, run, make_lease):
    loops = []

    @app.task(name="unit.look")
    async def look():
        loops.append(asyncio.get_running_loop())

    run(*(make_lease(task="unit.look", token=n) for n in (1, 2)))
    assert loops[0] is loops[1]


@pytest.mark.parametrize("is_async", [False, True])
def test_what_a_task_sets_in_its_context_the_next_one_does_not_see(app, run, make_lease, is_async):
    variable = contextvars.ContextVar("variable", default=0)
    seen = []

    def note():
        seen.append(variable.get())
        variable.set(1)

    async def anote():
        note()

    app.task(name="unit.note")(anote if is_async else note)
    run(*(make_lease(task="unit.note", token=n) for n in (1, 2)))
    assert seen == [0, 0]


def test_memory_is_looked_at_after_each_run(app, run, make_lease):
    app.task(name="unit.job")(lambda: None)
    looks = []
    run(
        *(make_lease(token=n) for n in (1, 2)),
        memory=MemoryLimit(1000, lambda why: None, lambda: looks.append(1) or 0),
    )
    assert len(looks) == 2


def test_what_a_slot_has_run_cannot_be_taken_away_and_what_it_has_not_can(app, run, board, make_lease):
    taken = []
    app.task(name="unit.hang")(lambda: taken.append(board.withdraw({1, 2, 3})))
    app.task(name="unit.short")(lambda: None)
    commits = run(make_lease(task="unit.short", token=1), make_lease(task="unit.hang", token=2))
    assert taken == [{3}]
    assert [commit.token for commit in commits] == [1, 2]
