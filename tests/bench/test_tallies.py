"""How fast a worker is follows from what its tasks write down."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bench.measures import FULL
from bench.processes import BenchError
from bench.tallies import Moment, Tally, Watched, watch

from bench import tallies


def wrote(folder: Path, process: str, begun: int, last: float, first: float) -> None:
    (folder / process).write_bytes(struct.pack("ddd", begun, last, first))


def script(*moments: tuple[int, float]) -> Callable[[], tuple[int, float]]:
    told: Iterator[tuple[int, float]] = iter(moments)
    return lambda: next(told)


def test_the_processes_tasks_are_added_and_the_last_one_counts(tmp_path: Path) -> None:
    wrote(tmp_path, "11", 30, last=5.0, first=1.0)
    wrote(tmp_path, "12", 12, last=7.0, first=2.0)
    (tmp_path / "13").touch()  # has just begun to write
    assert Tally(tmp_path).read() == (42, 7.0)


def test_a_span_is_from_the_first_begin_to_the_last(tmp_path: Path) -> None:
    wrote(tmp_path, "11", 30, last=5.0, first=1.5)
    wrote(tmp_path, "12", 12, last=7.0, first=2.0)
    assert Tally(tmp_path).span(42) == 5.5


def test_the_clock_ends_with_the_last_task_and_not_when_it_is_seen() -> None:
    started = time.monotonic()
    watched = watch(script((0, 0.0), (20, started), (100, started + 4.0)), 100, lambda: None)
    assert watched.tasks == 80
    assert watched.end.at == started + 4.0


def test_the_first_part_warms_the_worker_up_and_does_not_count() -> None:
    watched = watch(script((1, 1.0), (14, 2.0), (15, 3.0), (100, 4.0)), 100, lambda: None)
    assert watched.start.begun == 15


def test_what_ran_before_the_first_look_is_no_measurement() -> None:
    with pytest.raises(BenchError, match="the backlog is too small"):
        watch(script((100, 4.0)), 100, lambda: None)


def test_a_worker_that_does_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies, "_STILL_S", 0.05)
    with pytest.raises(BenchError, match="only 40 of 100 tasks have run"):
        watch(lambda: (40, 1.0), 100, lambda: None)


def test_rates_and_costs_are_of_the_counted_tasks() -> None:
    watched = Watched(Moment(100, 10.0, 1.0), Moment(2100, 12.0, 5.0))
    assert watched.tasks_per_s == 1000.0
    assert watched.cpu_s_per_1000 == 2.0


@pytest.mark.parametrize(("rate", "tasks"), [(1, FULL.least_tasks), (1000, 2500), (10**9, FULL.most_tasks)])
def test_a_backlog_is_as_large_as_its_peer_is_fast(rate: int, tasks: int) -> None:
    assert FULL.tasks(rate) == tasks
