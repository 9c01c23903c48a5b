"""The measuring end of a benchmark, run by a peer's own Python: `python driver.py TASKS MEASURE COUNT`, in `bench/tasks`.

Prints one JSON object a line. Plain Python without imports from the rest of the bench, since the peer's environment has
only the peer. A tasks module offers Celery's names, or wraps its own in them:

    add(x, y)       a task that gives the sum
    stamp(number)   a task that does nothing but to give `[number, time.monotonic()]`; the monotonic clock is one for
                    all processes of a machine
    many(calls)     call `add` with each of these argument tuples, in the best way there is; gives the ids
    result(id)      the handle of a task sent before, as `delay` gives it
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from typing import Any, Protocol, cast

GET_TIMEOUT_S = 60.0
DRAIN_TIMEOUT_S = 300.0
WARM_CALLS = 20
REST_S = 0.01


class Handle(Protocol):
    @property
    def id(self) -> str: ...

    def ready(self) -> bool: ...

    def get(self, *, timeout: float) -> Any: ...


class Task(Protocol):
    def delay(self, *args: int) -> Handle: ...


class Tasks(Protocol):
    add: Task
    stamp: Task

    def result(self, task_id: str, /) -> Handle: ...

    def many(self, calls: list[tuple[int, int]], /) -> list[str]: ...


def say(**values: object) -> None:
    print(json.dumps(values), flush=True)


def expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise SystemExit(f"wrong: {what} is {found!r} and should be {wanted!r}")


def enqueue(tasks: Tasks, count: int) -> None:
    """`count` calls of `delay`, one after the other, while no worker runs."""
    for number in range(WARM_CALLS):
        tasks.add.delay(number, number)
    started = time.perf_counter()
    sent = [tasks.add.delay(number, number).id for number in range(count)]
    took = time.perf_counter() - started
    expect("number of different ids", len(set(sent)), count)
    say(calls_per_s=count / took)


def enqueue_many(tasks: Tasks, count: int) -> None:
    """`count` calls at once, while no worker runs."""
    calls = [(number, number) for number in range(count)]
    tasks.many(calls[:WARM_CALLS])
    started = time.perf_counter()
    ids = tasks.many(calls)
    took = time.perf_counter() - started
    expect("number of different ids", len(set(ids)), count)
    say(calls_per_s=count / took)


def backlog(tasks: Tasks, count: int) -> None:
    """Send `count` tasks for another process to wait for."""
    say(ids=[tasks.stamp.delay(number).id for number in range(count)])


def drain(tasks: Tasks, warm: int) -> None:
    """Wait until all the ids that stdin names are done, but for the first `warm`, which warm the worker up.

    The clock starts when the first of the counted tasks runs, as the task itself tells, and stops when the last
    missing result is seen here.
    """
    ids = json.loads(sys.stdin.readline())
    counted = [tasks.result(task_id) for task_id in ids[warm:]]
    say(ready=True)
    counted[-1].get(timeout=DRAIN_TIMEOUT_S)
    ended = time.monotonic()
    # Backwards, because those missing still are near the end. Results that are there do not move the end.
    for handle in reversed(counted):
        if not handle.ready():
            handle.get(timeout=GET_TIMEOUT_S)
            ended = time.monotonic()
    values = [handle.get(timeout=GET_TIMEOUT_S) for handle in counted]
    expect("the results' numbers", [value[0] for value in values], list(range(warm, len(ids))))
    say(tasks_per_s=len(counted) / (ended - min(value[1] for value in values)))


def latency(tasks: Tasks, count: int) -> None:
    """`delay().get()`, with a rest before each call, so that the worker waits for it."""
    warm_up(tasks)
    took_ms = []
    for number in range(count):
        time.sleep(REST_S)
        started = time.perf_counter()
        found = tasks.add.delay(number, 1).get(timeout=GET_TIMEOUT_S)
        took_ms.append((time.perf_counter() - started) * 1000)
        expect(f"{number} + 1", found, number + 1)
    say(took_ms=took_ms)


def first(tasks: Tasks, _count: int) -> None:
    """Send one task, tell so, and tell the time at which its result is there."""
    handle = tasks.add.delay(2, 3)
    say(ready=True)
    expect("2 + 3", handle.get(timeout=GET_TIMEOUT_S), 5)
    say(monotonic_s=time.monotonic())


def warm(tasks: Tasks, _count: int) -> None:
    """See the worker at work and come to rest."""
    warm_up(tasks)
    say(ready=True)


def warm_up(tasks: Tasks) -> None:
    sent = [tasks.add.delay(number, number) for number in range(WARM_CALLS)]
    for number, handle in enumerate(sent):
        expect(f"{number} + {number}", handle.get(timeout=GET_TIMEOUT_S), 2 * number)


MEASURES = {measure.__name__: measure for measure in (enqueue, enqueue_many, backlog, drain, latency, first, warm)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("tasks")
    parser.add_argument("measure", choices=MEASURES)
    parser.add_argument("count", type=int)
    options = parser.parse_args()
    sys.path.insert(0, os.getcwd())
    MEASURES[options.measure](cast(Tasks, importlib.import_module(options.tasks)), options.count)


if __name__ == "__main__":
    main()
