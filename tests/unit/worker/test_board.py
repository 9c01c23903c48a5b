import os
import threading
import time

import pytest

from celeriac.worker.board import Board, Deadline


@pytest.fixture
def board():
    board = Board.create(slots=3)
    yield board
    board.close()


def test_a_new_board_shows_nothing(board):
    assert board.running() == set()
    assert board.deadlines() == []
    assert not board.watched
    assert not board.retired


def test_it_shows_what_began_and_has_not_ended(board):
    board.begin(0, 7)
    board.begin(2, 2**62)
    assert board.running() == {7, 2**62}
    board.end(0)
    assert board.running() == {2**62}


def test_who_inherits_the_descriptor_shares_the_cells(board):
    other = Board(os.dup(board.fd), 3)
    other.begin(1, 5)
    assert board.running() == {5}
    other.close()


def test_it_outlives_the_process_that_wrote_it(board, fork):
    fork(lambda: (board.begin(1, 5), board.limit(1, 2.5, 1.5), board.retire())).kill()
    assert board.running() == {5}
    assert board.deadlines() == [Deadline(slot=1, token=5, at=2.5, limit_s=1.5)]
    assert board.retired


def test_a_deadline_is_there_until_the_run_has_ended(board):
    board.begin(2, 9)
    board.limit(2, 100.25, 5.0)
    assert board.deadlines() == [Deadline(2, 9, 100.25, 5.0)]
    board.lift(2)
    assert board.deadlines() == []
    assert board.running() == {9}


def test_a_limit_of_centuries_is_one_all_the_same(board):
    board.begin(0, 9)
    board.limit(0, 1e12, 1e12)
    (deadline,) = board.deadlines()
    assert deadline.at > 9e9


def test_the_child_learns_whether_it_is_watched(board):
    board.watch(True)
    assert board.watched
    board.watch(False)
    assert not board.watched


def test_a_condemned_run_that_has_ended_waits_until_it_is_spared(board):
    board.begin(0, 7)
    board.limit(0, 1.0, 1.0)
    (deadline,) = board.deadlines()
    board.condemn(deadline)
    ended = threading.Event()
    child = threading.Thread(target=lambda: (board.lift(0), ended.set()))
    child.start()
    while board.overruns(deadline):
        time.sleep(0)
    assert not ended.wait(0.05)
    board.spare(deadline)
    assert ended.wait(30)
    child.join()


def test_the_next_run_of_the_slot_is_not_the_condemned_one(board):
    board.begin(0, 7)
    board.limit(0, 1.0, 1.0)
    (deadline,) = board.deadlines()
    assert board.overruns(deadline)
    board.lift(0)
    board.end(0)
    board.condemn(deadline)  # a little late
    board.begin(0, 8)
    board.limit(0, 1.0, 1.0)
    assert not board.overruns(deadline)
    board.lift(0)  # and does not wait


def test_the_supervisor_is_asked_again_when_it_has_heard_and_not_before(board):
    """One word at most is on its way: writing another could block the child while the supervisor is stopped."""
    assert board.ask()
    assert not board.ask()
    board.hear()
    assert board.ask()


def test_a_beat_is_of_the_clock_that_all_processes_share_and_stays_until_it_rests(board, fork):
    assert board.beat_at is None
    before = time.monotonic()
    fork(board.beat).kill()
    assert before <= board.beat_at <= time.monotonic()
    board.rest()
    assert board.beat_at is None


def test_what_is_shown_is_not_withdrawn_and_what_is_shown_later_is(board):
    board.begin(0, 5)
    board.defer(1, 6)  # begun, and waiting for a thread
    assert board.withdraw({5, 6, 7, 8}) == {7, 8}
    board.begin(2, 8)
    assert board.withdrawn(8)
    assert not board.withdrawn(9)
    board.withdraw({3})
    assert board.withdrawn(8)
    assert board.running() == {5, 8}


def test_a_lease_is_either_begun_or_withdrawn_whoever_is_faster(board):
    """The child shows and then looks, the supervisor withdraws and then looks: never do both think it is theirs."""
    taken = set()
    child_runs = set()

    def child():
        for token in range(1, 400):
            board.begin(0, token)
            if not board.withdrawn(token):
                child_runs.add(token)
            time.sleep(0.0002)

    thread = threading.Thread(target=child)
    thread.start()
    while thread.is_alive():
        begun = max(child_runs, default=0)
        taken |= board.withdraw(range(begun + 1, begun + 4))
    thread.join()
    assert taken
    assert child_runs.isdisjoint(taken)


def test_another_view_outlives_the_first(board):
    other = Board.create(1)
    view = other.another()
    other.close()
    view.begin(0, 3)
    assert view.running() == {3}
    view.close()


def test_what_has_ended_before_a_run_that_hangs_is_not_taken_away(board):
    """Its commit has not left yet: taken away, it would run twice for the next one's being long."""
    for token in (5, 6):
        board.begin(0, token)
        assert not board.withdrawn(token)
        board.confirm(0, token)
        board.end(0)
    board.begin(0, 7)
    board.confirm(0, 7)
    assert board.withdraw({5, 6, 7, 8, 9}) == {8, 9}
