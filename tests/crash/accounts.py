"""What the account of a fleet's runs must say after kills."""

from __future__ import annotations

from collections.abc import Collection

from support.audit import Runs

__all__ = ["MOST_UNSETTLED", "assert_only_the_killed_repeat"]

#: A task of 5 ms that is done is settled within some 10 ms; a busy machine may take longer.
MOST_UNSETTLED = 20


def assert_only_the_killed_repeat(runs: Runs, killed: Collection[int]) -> None:
    """A killed process loses what it had not settled: the last of what it started, and nothing that came before."""
    for number in runs.repeated:
        assert set(runs.started[number][:-1]) <= set(killed), f"task {number} ran again though nobody was killed in it"
    for process in killed:
        numbers = runs.by_process[process]
        again = [number for number in numbers if runs.started[number][-1] != process]
        assert again == numbers[len(numbers) - len(again) :]
        assert len(again) <= MOST_UNSETTLED
