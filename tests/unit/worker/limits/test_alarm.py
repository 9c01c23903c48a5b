import re
import signal
import sys
import time

import pytest

from celeriac.worker.limits.alarm import Alarm

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere there is no such timer, and `set` does nothing"
)


@pytest.fixture
def rung():
    """When the signal came."""
    times = []
    before = signal.signal(signal.SIGUSR1, lambda _number, _frame: times.append(time.monotonic()))
    yield times
    signal.signal(signal.SIGUSR1, before)


def wait_for(rung, count, at_most_s=30):
    end = time.monotonic() + at_most_s
    while len(rung) < count and time.monotonic() < end:
        time.sleep(0.001)
    return len(rung)


def test_it_comes_once_and_not_too_early(rung):
    alarm = Alarm(signal.SIGUSR1)
    began = time.monotonic()
    alarm.set(0.03)
    assert wait_for(rung, 1) == 1
    assert rung[0] - began >= 0.03
    assert wait_for(rung, 2, 0.1) == 1


def test_a_later_set_replaces_the_earlier(rung):
    alarm = Alarm(signal.SIGUSR1)
    alarm.set(3600)
    alarm.set(0.01)
    assert wait_for(rung, 1) == 1


def test_a_cleared_one_does_not_come(rung):
    alarm = Alarm(signal.SIGUSR1)
    alarm.set(0.03)
    alarm.clear()
    assert wait_for(rung, 1, 0.1) == 0


def test_it_reaches_code_that_keeps_the_interpreter_to_itself():
    def stop(_number, _frame):
        raise TimeoutError

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        Alarm(signal.SIGUSR1).set(0.05)
        with pytest.raises(TimeoutError):
            re.match(r"(a+)+$", "a" * 60 + "b")
    finally:
        signal.signal(signal.SIGUSR1, before)
