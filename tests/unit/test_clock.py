import time

import pytest

from celeriac.clock import SYSTEM_CLOCK, timestamp, utc
from celeriac.testing.clock import ManualClock


def test_the_system_clock_is_the_machines():
    before = time.time()
    assert before <= SYSTEM_CLOCK.time() <= time.time()
    assert SYSTEM_CLOCK.monotonic() <= time.monotonic()


def test_utc_is_aware():
    assert utc(1_767_323_045.0).isoformat() == "2026-01-02T03:04:05+00:00"


def test_a_manual_clock_stands_until_it_is_turned():
    clock = ManualClock(start=100.0)
    assert (clock.time(), clock.monotonic()) == (100.0, 0.0)
    clock.advance(5)
    assert (clock.time(), clock.monotonic()) == (105.0, 5.0)


def test_a_manual_clock_does_not_go_back():
    with pytest.raises(ValueError, match="backwards"):
        ManualClock().advance(-1)


def test_timestamps_are_those_of_isoformat_from_second_to_second_and_back():
    for seconds in (1_767_323_045, 1_767_323_045.25, 1_767_323_046.5, 1_767_323_045.678_901, 951_782_399.75, 0.0):
        assert timestamp(seconds) == utc(seconds).isoformat()
