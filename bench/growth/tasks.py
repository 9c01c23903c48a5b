"""The tasks whose cost is followed. The worker finds its store in GROWTH_STORE; who measures has its own application."""

from __future__ import annotations

import os
import time

from celeriac import Celery, Task, shared_task

__all__ = ["application", "fail", "nap", "nothing", "swallow", "try_again"]


def application(url: str | None) -> Celery:
    """An application on a store."""
    return Celery("bench.growth.tasks", broker=url, backend=url)


@shared_task
def nothing(number: int) -> int:
    return number


@shared_task
def swallow(blob: str) -> int:
    return len(blob)


@shared_task
def nap(milliseconds: float) -> None:
    time.sleep(milliseconds / 1000)


@shared_task
def fail(number: int) -> None:
    raise ValueError(f"as it was meant to: {number}")


@shared_task(bind=True)
def try_again(self: Task[..., None], number: int) -> None:
    if self.request.retries < 1:
        raise self.retry(countdown=0)


app = application(os.environ.get("GROWTH_STORE"))
