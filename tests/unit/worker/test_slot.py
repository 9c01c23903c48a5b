from celeriac.documents import Document
from celeriac.engines.base import Ack
from celeriac.worker.board import Board
from celeriac.worker.slot import run_slot


class Courier:
    """Brings what it was given, and keeps what is settled."""

    def __init__(self, leases):
        self.leases = leases
        self.commits = []

    def next(self):
        return self.leases.pop(0) if self.leases else None

    def settle(self, commit):
        self.commits.append(commit)


def test_a_slot_runs_what_the_courier_brings_until_it_brings_no_more(app, make_lease):
    app.task(name="unit.double")(lambda x: 2 * x)
    courier = Courier([make_lease(task="unit.double", args=[n], token=n) for n in (1, 2)])
    run_slot(app, "celery@unit", courier)
    assert [(commit.token, commit.settle) for commit in courier.commits] == [(1, Ack()), (2, Ack())]
    assert [Document.decode("id-1", commit.record.body).result for commit in courier.commits] == [2, 4]


def test_the_board_shows_the_running_lease_and_nothing_afterwards(app, make_lease):
    board = Board.create(slots=1)
    seen = []
    app.task(name="unit.look")(lambda: seen.append(board.running()))
    run_slot(app, "celery@unit", Courier([make_lease(task="unit.look", token=9)]), board)
    assert seen == [{9}]
    assert board.running() == set()
    board.close()


def test_the_event_loop_is_closed_at_the_end(app, make_lease):
    import asyncio

    loops = []

    @app.task(name="unit.look")
    async def look():
        loops.append(asyncio.get_running_loop())

    run_slot(app, "celery@unit", Courier([make_lease(task="unit.look")]))
    assert loops[0].is_closed()
