import random
import threading
import time

import pytest

from celeriac.worker.board import Board, Deadline
from celeriac.worker.deadlines import Watch
from celeriac.worker.limits.hard import HardLimits


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def board():
    board = Board.create(slots=2)
    yield board
    board.close()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def watch(board, clock):
    return Watch(board, clock)


def begin(board, slot, token, at, limit_s=1.0):
    board.begin(slot, token)
    board.limit(slot, at, limit_s)


def test_nothing_is_looked_at_until_a_child_asks(watch):
    assert watch.next_look is None


def test_it_looks_at_once_and_again_soon(board, watch, clock):
    begin(board, 0, 7, at=160)
    watch.asked()
    assert watch.next_look <= clock.now
    assert watch.look() == {}
    assert board.watched
    assert clock.now < watch.next_look <= clock.now + 0.2


def test_it_looks_at_the_very_moment_of_a_deadline(board, watch, clock):
    begin(board, 0, 7, at=100.05)
    watch.asked()
    watch.look()
    assert watch.next_look == 100.05


def test_a_run_past_its_deadline_is_named_with_its_limit(board, watch, clock):
    begin(board, 0, 7, at=99, limit_s=5)
    begin(board, 1, 8, at=160)
    watch.asked()
    assert watch.look() == {7: 5.0}


def test_when_there_are_no_deadlines_any_more_it_rests(board, watch):
    begin(board, 0, 7, at=160)
    watch.asked()
    watch.look()
    board.lift(0)
    watch.look()
    assert not board.watched  # from now on the child asks
    begin(board, 0, 8, at=160)  # ... and this one began in that very moment, and did not
    assert watch.next_look is not None
    watch.look()
    assert board.watched
    board.lift(0)
    watch.look()
    watch.look()
    assert watch.next_look is None


def test_a_run_that_ends_while_it_is_condemned_is_spared(board, watch, monkeypatch):
    begin(board, 0, 7, at=99)
    watch.asked()
    child = threading.Thread(target=board.lift, args=(0,))
    monkeypatch.setattr(time, "sleep", lambda _s, sleep=time.sleep: child.is_alive() or (child.start(), sleep(0.02)))
    assert watch.look() == {}
    monkeypatch.undo()
    child.join(30)
    assert not child.is_alive()


_RUNS = 1_000


def test_a_thousand_runs_that_end_around_their_deadline_are_judged_once(board, record_property):
    """Who is named has not ended and goes no further; who has gone further is never named."""
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    chance = random.Random(seed)
    watch, hard = Watch(board), HardLimits(board, lambda: None)
    went_on, named = set(), set()

    def child():
        for token in range(1, _RUNS + 1):
            board.begin(0, token)
            hard.begin(0, 0.0005 if token % 5 else 3600)
            time.sleep(chance.uniform(0, 0.003))
            hard.end(0)
            went_on.add(token)
            board.end(0)

    thread = threading.Thread(target=child)
    thread.start()
    while thread.is_alive():
        time.sleep(0.0001)  # let the child have the interpreter
        watch.asked()
        for token in watch.look():
            # In truth its process is dead now. Here it is let go a little later.
            assert token not in went_on
            assert token % 5
            time.sleep(0.0005)
            assert token not in went_on, "it went on although it was to be killed"
            named.add(token)
            board.spare(Deadline(0, token, 0, 0))
    assert len(went_on) == _RUNS
    assert named
    record_property("figure", f"{len(named)} of {_RUNS} runs would have been killed, 0 of them had gone on")


def test_a_courier_without_a_turn_for_a_second_hangs_and_is_told_of_once_a_second(board, watch, clock):
    clock.now = time.monotonic()
    assert watch.hangs_since() is None
    board.beat()
    watch.asked()
    assert watch.look() == {}
    assert watch.hangs_since() is None
    clock.now += 1.1
    assert watch.hangs_since() == board.beat_at
    assert watch.hangs_since() is None
    clock.now += 1.1
    assert watch.hangs_since() == board.beat_at
    board.rest()
    clock.now += 1.1
    assert watch.hangs_since() is None


def test_it_looks_while_something_waits_and_stops_soon_after(board, watch, clock):
    board.beat()
    watch.asked()
    for _ in range(10):
        watch.look()
        assert watch.next_look is not None
        assert board.minded
    assert not board.watched  # who sets a deadline now still asks: it may be over before the next look
    board.rest()
    watch.look()
    assert not board.minded
    watch.look()
    assert watch.next_look is None
