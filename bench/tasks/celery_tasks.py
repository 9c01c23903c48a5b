"""The measured tasks, for Celery."""

# Celery lives in its own environment, where type checking does not look.
# mypy: disable-error-code="import-not-found,untyped-decorator"

import os
from typing import Any

import tally
from celery import Celery

_REDIS = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/0")

app = Celery("celery_tasks", broker=_REDIS, backend=_REDIS)
app.conf.worker_prefetch_multiplier = int(os.environ.get("BENCH_PREFETCH", "64"))


@app.task(name="bench.noop")
def noop(number: int) -> int:
    tally.count()
    return number


@app.task(name="bench.quiet", ignore_result=True)
def quiet(number: int) -> None:
    tally.count()


@app.task(name="bench.everyday")
def everyday(text: str) -> int:
    tally.count()
    tally.work()
    return len(text)


def send(name: str, argument: Any) -> str:
    task_id: str = app.tasks[f"bench.{name}"].delay(argument).id
    return task_id


def send_many(name: str, arguments: list[Any], queue: str | None = None) -> list[str]:
    """One by one, as Celery has no other way."""
    task = app.tasks[f"bench.{name}"]
    return [task.apply_async((one,), queue=queue).id for one in arguments]


def wait(task_id: str, timeout_s: float) -> Any:
    return app.AsyncResult(task_id).get(timeout=timeout_s)
