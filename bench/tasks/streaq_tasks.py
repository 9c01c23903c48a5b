"""The measured tasks, for streaq."""

# mypy: disable-error-code="import-not-found,untyped-decorator"

import asyncio
import json
import os
from typing import Any

import tally
import uvloop
from streaq import Worker

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
worker: Any = Worker(
    redis_url=os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/0"),
    concurrency=int(os.environ.get("BENCH_CONCURRENCY", "50")),
    serializer=json.dumps,
    deserializer=json.loads,
)
_entered = False
_entering = asyncio.Lock()


@worker.task(ttl=86400)
async def noop(number: int) -> int:
    tally.count()
    return number


@worker.task(ttl=0)
async def quiet(number: int) -> None:
    tally.count()


@worker.task(ttl=86400)
async def everyday(text: str) -> int:
    tally.count()
    await asyncio.sleep(0.001)
    tally.burn()
    return len(text)


@worker.task(ttl=86400)
async def nap(number: int) -> int:
    tally.count()
    await asyncio.sleep(0.1)
    return number


async def _enter() -> None:
    global _entered
    async with _entering:
        if not _entered:
            await worker.__aenter__()
            _entered = True


async def send(name: str, argument: Any) -> str:
    await _enter()
    task_id: str = (await globals()[name].enqueue(argument)).id
    return task_id


async def send_many(name: str, arguments: list[Any], queue: str | None = None) -> list[str]:
    await _enter()
    tasks = [globals()[name].enqueue(one) for one in arguments]
    for start in range(0, len(tasks), 1000):
        await worker.enqueue_many(tasks[start : start + 1000])
    return [task.id for task in tasks]


async def wait(task_id: str, timeout_s: float) -> Any:
    await _enter()
    return (await worker.result_by_id(task_id, timeout=int(timeout_s))).result
