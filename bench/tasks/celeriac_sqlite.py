"""The measured tasks, for celeriac: what a Celery project has, with another import."""

import time

from celeriac import Celery

app = Celery("celeriac_sqlite")

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
