import threading
import time

from celeriac.exceptions import SoftTimeLimitExceeded
from celeriac.worker.limits.limiter import Limit, Limiter


class Slot:
    """Notes when it is struck; a strike arrives at the `arrives`th time."""

    def __init__(self, arrives=1):
        self.limits = ()
        self.strikes = []
        self.struck = threading.Event()
        self.arrives = arrives

    def limit(self, limiter, after_s):
        limit = Limit(time.monotonic() + after_s, SoftTimeLimitExceeded())
        self.limits = (limit,)
        limiter.notice(self.limits)
        return limit

    def strike(self, limit):
        self.strikes.append(limit)
        if len(self.strikes) >= self.arrives:
            limit.struck = True
            self.struck.set()


def test_a_limit_is_struck_at_its_moment():
    limiter, slot = Limiter(), Slot()
    limiter.add(slot)
    began = time.monotonic()
    limit = slot.limit(limiter, 0.05)
    assert slot.struck.wait(30)
    assert time.monotonic() - began >= 0.05
    assert slot.strikes == [limit]


def test_it_is_struck_again_until_it_arrives():
    limiter, slot = Limiter(), Slot(arrives=4)
    limiter.add(slot)
    slot.limit(limiter, 0.01)
    assert slot.struck.wait(30)
    assert len(slot.strikes) == 4


def test_an_earlier_limit_of_another_slot_is_not_kept_waiting():
    limiter, patient, hasty = Limiter(), Slot(), Slot()
    limiter.add(patient)
    limiter.add(hasty)
    patient.limit(limiter, 3600)
    hasty.limit(limiter, 0.01)
    assert hasty.struck.wait(30)
    assert patient.strikes == []


def test_a_limit_that_is_gone_is_not_struck():
    limiter, gone, other = Limiter(), Slot(), Slot()
    limiter.add(gone)
    limiter.add(other)
    gone.limit(limiter, 0.02)
    gone.limits = ()
    other.limit(limiter, 0.05)
    assert other.struck.wait(30)
    assert gone.strikes == []


def test_limits_far_apart_wake_nobody(monkeypatch):
    """A long limit on each of many short calls costs no wake-up for each."""
    limiter, slot = Limiter(), Slot()
    limiter.add(slot)
    slot.limit(limiter, 3600)
    while limiter._wakes_at > time.monotonic() + 3601:
        time.sleep(0.001)
    rings = []
    monkeypatch.setattr(limiter, "_bell", type("Bell", (), {"put": lambda self, value: rings.append(value)})())
    for _ in range(100):
        slot.limit(limiter, 3600)
    assert rings == []
