import pytest

from celeriac.worker.starts import Starts


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def starts(clock):
    starts = Starts(["one", "two"], clock)
    assert starts.next_in_s == 0
    assert starts.due() == ["one", "two"]
    assert starts.next_in_s is None
    return starts


def test_a_child_that_lived_is_replaced_at_once(starts, clock):
    starts.replace("one", clock.now - 5, blameless=False)
    assert starts.due() == ["one"]


def test_children_that_die_at_once_are_replaced_ever_more_slowly(starts, clock):
    delays = []
    for _ in range(3):
        starts.replace("one", clock.now, blameless=False)
        assert starts.due() == []
        delays.append(starts.next_in_s)
        clock.now += starts.next_in_s
        assert starts.due() == ["one"]
    assert 0 < delays[0] < delays[1] < delays[2]


def test_a_quick_death_with_a_reason_keeps_nobody_waiting(starts, clock):
    starts.replace("one", clock.now, blameless=True)
    assert starts.due() == ["one"]


def test_what_cannot_be_started_is_tried_again_later_and_said_once(starts, clock, caplog):
    for _ in range(2):
        starts.failed("one", OSError("no memory"))
        assert starts.due() == []
        clock.now += starts.next_in_s
        assert starts.due() == ["one"]
    starts.succeeded()
    starts.succeeded()
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
