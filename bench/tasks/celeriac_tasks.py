"""The measured tasks, for celeriac: on the Redis that BENCH_REDIS names, else on the embedded store."""

import os
import time

from celeriac import Celery

_REDIS = os.environ.get("BENCH_REDIS")

app = Celery("celeriac_tasks", broker=_REDIS, backend=_REDIS)

result = app.AsyncResult


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def stamp(number: int) -> list[float]:
    return [number, time.monotonic()]


def many(calls: list[tuple[int, int]]) -> list[str]:
    """Call `add` with each of these; the ids."""
    return [sent.id for sent in add.delay_many(calls)]
