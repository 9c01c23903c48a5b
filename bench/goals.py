"""What celeriac is to reach beside its peers, and whether it does."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.peers import OURS

__all__ = ["GOALS", "Goal", "Medians", "Outcome", "judge"]

REDIS, SQLITE, LIMIT, CELERY = "celeriac-redis", "celeriac-sqlite", "limit", "celery-redis"


class Medians:
    """The middle sample of each figure and peer; raises `KeyError` for what was not measured."""

    def __init__(self, samples: Mapping[tuple[str, str], Sequence[float]]) -> None:
        self._medians = {key: statistics.median(values) for key, values in samples.items() if values}

    def of(self, figure: str, peer: str) -> float:
        return self._medians[figure, peer]

    def others(self, figure: str) -> dict[str, float]:
        """Of all who are neither ours nor on SQLite; raises `KeyError` when there is none."""
        found = {
            peer: value
            for (name, peer), value in self._medians.items()
            if name == figure and peer not in OURS and not peer.endswith("-sqlite")
        }
        if not found:
            raise KeyError(figure)
        return found


@dataclass(frozen=True)
class Goal:
    """`reach` gives how far we are; with `at_least` that is to be no less than `goal`, else no more."""

    what: str
    goal: float
    reach: Callable[[Medians], float]
    at_least: bool = True
    unit: str = "×"


@dataclass(frozen=True)
class Outcome:
    """A goal, and what came out; None where it was not measured."""

    goal: Goal
    reached: float | None

    @property
    def met(self) -> bool | None:
        if self.reached is None:
            return None
        return self.reached >= self.goal.goal if self.goal.at_least else self.reached <= self.goal.goal


def _share(figure: str, peer: str, ours: str = REDIS) -> Callable[[Medians], float]:
    return lambda medians: medians.of(figure, ours) / medians.of(figure, peer)


def _of_best(figure: str, *, more_is_better: bool) -> Callable[[Medians], float]:
    """Against the best of the others."""
    best = max if more_is_better else min
    return lambda medians: medians.of(figure, REDIS) / best(medians.others(figure).values())


def _value(figure: str, peer: str = REDIS) -> Callable[[Medians], float]:
    return lambda medians: medians.of(figure, peer)


GOALS = (
    Goal("draining, results stored, of the hand-written loop", 0.5, _share("drain", LIMIT)),
    Goal("draining, results stored, of the fastest other", 8, _of_best("drain", more_is_better=True)),
    Goal("draining, results stored, of Celery", 50, _share("drain", CELERY)),
    Goal("draining, results ignored, of the hand-written loop", 0.5, _share("drain ignored", LIMIT)),
    Goal("draining, results ignored, of the fastest other", 8, _of_best("drain ignored", more_is_better=True)),
    Goal("everyday tasks, of the hand-written loop", 0.85, _share("everyday", LIMIT)),
    Goal("everyday tasks, of the fastest other", 1, _of_best("everyday", more_is_better=True)),
    Goal("CPU per 1,000 no-op tasks, of Celery", 1 / 20, _share("cpu", CELERY), at_least=False),
    Goal(
        "CPU per 1,000 no-op tasks, of the thriftiest other", 1, _of_best("cpu", more_is_better=False), at_least=False
    ),
    Goal("`delay` above a bare LPUSH", 60, _value("above bare"), at_least=False, unit="µs"),
    Goal("`delay` one by one, of Celery", 4, _share("enqueue", CELERY)),
    Goal("`delay` one by one, of the fastest other", 1, _of_best("enqueue", more_is_better=True)),
    Goal(
        "`delay_many`, of Celery's loop of `delay`",
        40,
        lambda medians: medians.of("enqueue many", REDIS) / medians.of("enqueue", CELERY),
    ),
    Goal(
        "1,000 coroutines in `adelay`, of Celery's loop of `delay`",
        15,
        lambda medians: medians.of("enqueue together", REDIS) / medians.of("enqueue", CELERY),
    ),
    Goal("`delay().get()` at rest, of Celery", 0.25, _share("latency p50", CELERY), at_least=False),
    Goal("coroutines that sleep, of the ideal", 1.5, _value("naps"), at_least=False),
    Goal("coroutines that sleep, of the fastest other", 1, _of_best("naps", more_is_better=False), at_least=False),
    Goal("import of an app, of Celery", 0.35, _share("import", CELERY), at_least=False),
    Goal("start to first result, of Celery", 0.4, _share("start", CELERY), at_least=False),
    Goal("memory of a worker, of Celery", 0.6, _share("memory", CELERY), at_least=False),
    Goal("Redis bytes per queued task, of Celery", 0.6, _share("bytes", CELERY), at_least=False),
    Goal("what Celery's worker runs of these", 1, _value("run by Celery")),
    Goal(
        "SQLite: draining, of Celery on Redis",
        10,
        lambda medians: medians.of("drain", SQLITE) / medians.of("drain", CELERY),
    ),
    Goal("SQLite: durable `delay`, of huey on SQLite", 1, _share("enqueue", "huey-sqlite", SQLITE)),
    Goal("SQLite: `delay` of four writers, p99", 50, _value("writers p99", SQLITE), at_least=False, unit="ms"),
)


def judge(samples: Mapping[tuple[str, str], Sequence[float]]) -> list[Outcome]:
    """All goals, in their order."""
    medians = Medians(samples)
    outcomes = []
    for goal in GOALS:
        try:
            outcomes.append(Outcome(goal, goal.reach(medians)))
        except KeyError:
            outcomes.append(Outcome(goal, None))
    return outcomes
