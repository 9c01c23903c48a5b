"""The measured tasks, for celeriac: on the Redis that BENCH_REDIS names, else on the embedded store."""

# mypy: disable-error-code="import-not-found"

import os
from typing import Any

import tally

from celeriac import Celery

_REDIS = os.environ.get("BENCH_REDIS")

app = Celery("celeriac_tasks", broker=_REDIS, backend=_REDIS)


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


@app.task(name="bench.nap")
async def nap(number: int) -> int:
    import asyncio  # here, that importing the application costs what others' without coroutines does

    tally.count()
    await asyncio.sleep(0.1)
    return number


def send(name: str, argument: Any) -> str:
    return app.tasks[f"bench.{name}"].delay(argument).id


def send_many(name: str, arguments: list[Any], queue: str | None = None) -> list[str]:
    task, calls = app.tasks[f"bench.{name}"], [(one,) for one in arguments]
    return [sent.id for sent in task.delay_many(calls, queue=queue or "celery")]


async def send_together(name: str, argument: Any) -> str:
    return (await app.tasks[f"bench.{name}"].adelay(argument)).id


def wait(task_id: str, timeout_s: float) -> Any:
    return app.AsyncResult(task_id).get(timeout=timeout_s)
