import pytest

from celeriac.worker.board import Board
from celeriac.worker.channel import Channel, Closed
from celeriac.worker.children import ChildProcess
from celeriac.worker.last_words import LastWords


@pytest.fixture
def ends():
    ours, theirs = Channel.pair()
    yield ours, theirs
    theirs.close()


@pytest.fixture
def child(ends):
    child = ChildProcess(1, "ForkPoolWorker-1", 4711, ends[0], Board.create(1), LastWords(), "node-1")
    yield child
    child.close()


def test_a_child_that_does_not_listen_keeps_nobody_waiting(child, ends):
    """One that hangs or was stopped may be told of a revocation again and again."""
    for number in range(5000):
        child.tell(number)
    assert ends[1].receive()[0] == 0


def test_a_child_that_has_gone_is_told_nothing(child, ends):
    ends[1].close()
    child.tell("stop")
    with pytest.raises(Closed):
        child.channel.receive()


def test_it_is_looked_at_by_the_moment_it_is_to_end_and_not_after_its_kill(child):
    assert child.next_look is None
    child.kill_at = 5.0
    assert child.next_look == 5.0
    child.killed = True
    assert child.next_look is None
