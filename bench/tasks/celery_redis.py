"""The measured tasks, for Celery."""

# Celery lives in its own environment, where type checking does not look.
# mypy: disable-error-code="import-not-found,untyped-decorator"

import os
import time

from celery import Celery

_REDIS = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/0")

app = Celery("celery_redis", broker=_REDIS, backend=_REDIS)
app.conf.worker_prefetch_multiplier = 64

result = app.AsyncResult


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def stamp(number: int) -> list[float]:
    return [number, time.monotonic()]


def many(calls: list[tuple[int, int]]) -> list[str]:
    """Call `add` with each of these, one by one, as Celery has no other way; the ids."""
    return [add.delay(*call).id for call in calls]
