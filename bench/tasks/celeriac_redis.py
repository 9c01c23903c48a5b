"""The measured tasks, for celeriac on Redis."""

import os
import time

from celeriac import Celery

_REDIS = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/0")

app = Celery("celeriac_redis", broker=_REDIS, backend=_REDIS)

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
