import logging

import pytest

from celeriac.worker.memory import MemoryLimit, resident_kib
from support.processes import needs_proc


@pytest.fixture
def limit():
    """A limit of 100 KiB, what it measures (set by the test), and why it was exceeded."""
    sizes, reasons = [], []
    return MemoryLimit(100, reasons.append, lambda: sizes.pop(0)), sizes, reasons


def test_below_the_limit_nothing_happens(limit):
    memory, sizes, reasons = limit
    sizes += [50, 100]
    memory.look()
    memory.look()
    assert reasons == []


def test_beyond_it_the_reason_is_told_once(limit):
    memory, sizes, reasons = limit
    sizes += [50, 101, 102]
    for _ in range(3):
        memory.look()
    assert reasons == ["it holds 101 KiB of memory (worker_max_memory_per_child=100)"]


def test_a_first_task_that_is_too_much_is_warned_of(limit, caplog):
    memory, sizes, _ = limit
    sizes += [101]
    with caplog.at_level(logging.WARNING):
        memory.look()
    assert "One task alone took this process to 101 KiB" in caplog.text


@needs_proc
def test_what_is_held_is_measured_and_what_is_let_go_of_too():
    before = resident_kib()
    held = bytearray(b"x") * (64 << 20)
    during = resident_kib()
    del held
    assert during - before > 60 * 1024
    assert resident_kib() < during - 30 * 1024
