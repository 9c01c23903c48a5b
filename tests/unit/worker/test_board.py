import os

import pytest

from celeriac.worker.board import Board


@pytest.fixture
def board():
    board = Board.create(slots=3)
    yield board
    board.close()


def test_a_new_board_shows_nothing(board):
    assert board.running() == set()


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
    fork(lambda: board.begin(1, 5)).kill()
    assert board.running() == {5}
