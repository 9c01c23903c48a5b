"""Whether a goal of the benchmark is met is worked out from the medians of a run."""

from __future__ import annotations

import pytest
from bench.goals import GOALS, Goal, Medians, Outcome, judge
from bench.measures import MEASURES
from bench.peers import PEERS

Samples = dict[tuple[str, str], list[float]]

DRAINS: Samples = {
    ("drain", "celeriac-redis"): [50.0, 60.0, 100.0],
    ("drain", "celeriac-sqlite"): [40.0],
    ("drain", "limit"): [120.0],
    ("drain", "celery-redis"): [1.0],
    ("drain", "dramatiq"): [6.0],
    ("drain", "huey-sqlite"): [50.0],
}


def reached(samples: Samples) -> dict[str, float]:
    return {one.goal.what: one.reached for one in judge(samples) if one.reached is not None}


def test_a_figure_is_the_middle_of_its_samples() -> None:
    assert Medians(DRAINS).of("drain", "celeriac-redis") == 60.0


def test_draining_is_held_against_the_limit_the_fastest_other_and_celery() -> None:
    assert reached(DRAINS) == {
        "draining, results stored, of the hand-written loop": 0.5,
        "draining, results stored, of the fastest other": 10.0,
        "draining, results stored, of Celery": 60.0,
        "SQLite: draining, of Celery on Redis": 40.0,
    }


def test_the_others_are_neither_ours_nor_on_sqlite() -> None:
    assert Medians(DRAINS).others("drain") == {"celery-redis": 1.0, "dramatiq": 6.0}


def test_the_best_is_the_lowest_where_less_is_better() -> None:
    naps: Samples = {("naps", "celeriac-redis"): [1.1], ("naps", "saq"): [2.2], ("naps", "arq"): [4.4]}
    assert reached(naps)["coroutines that sleep, of the fastest other"] == 0.5


def test_calling_in_bulk_is_held_against_celerys_calls_one_by_one() -> None:
    calls: Samples = {
        ("enqueue many", "celeriac-redis"): [80.0],
        ("enqueue together", "celeriac-redis"): [30.0],
        ("enqueue", "celery-redis"): [2.0],
    }
    assert reached(calls) == {
        "`delay_many`, of Celery's loop of `delay`": 40.0,
        "1,000 coroutines in `adelay`, of Celery's loop of `delay`": 15.0,
    }


@pytest.mark.parametrize(
    ("at_least", "value", "met"), [(True, 8, True), (True, 7.9, False), (False, 8, True), (False, 8.1, False)]
)
def test_a_goal_is_met_at_its_bound_and_missed_beyond(at_least: bool, value: float, met: bool) -> None:
    goal = Goal("something", 8, lambda medians: medians.of("something", "celeriac-redis"), at_least)
    assert Outcome(goal, value).met is met


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    outcomes = judge({})
    assert [outcome.goal for outcome in outcomes] == list(GOALS)
    assert {outcome.met for outcome in outcomes} == {None}


def test_every_goal_is_of_figures_that_are_taken_of_these_peers() -> None:
    taken = {
        (figure.name, peer.name): [1.0]
        for measure in MEASURES.values()
        for figure in measure.figures
        for peer in PEERS.values()
        if measure.is_for(peer)
    }
    assert [outcome.goal.what for outcome in judge(taken) if outcome.reached is None] == []
