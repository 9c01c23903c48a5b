"""The measured tasks, for saq."""

# mypy: disable-error-code="import-not-found"

import asyncio
import os
import time
from typing import Any

import tally
import uvloop
from saq import Queue

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
queue = Queue.from_url(os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/0"))


async def noop(_context: Any, *, argument: int) -> int:
    tally.count()
    return argument


async def quiet(_context: Any, *, argument: int) -> None:
    tally.count()


async def everyday(_context: Any, *, argument: str) -> int:
    tally.count()
    await asyncio.sleep(0.001)
    tally.burn()
    return len(argument)


async def nap(_context: Any, *, argument: int) -> int:
    tally.count()
    await asyncio.sleep(0.1)
    return argument


settings = {
    "queue": queue,
    "functions": [noop, quiet, everyday, nap],
    "concurrency": int(os.environ.get("BENCH_CONCURRENCY", "30")),
}


async def send(name: str, argument: Any) -> str:
    # Retries, since the sweep of a worker that starts takes the task of another that starts beside it for stuck.
    job = await queue.enqueue(name, argument=argument, ttl=-1 if name == "quiet" else 86400, retries=3)
    assert job is not None
    task_id: str = job.key
    return task_id


async def send_many(name: str, arguments: list[Any], queue: str | None = None) -> list[str]:
    """At the same time, a hundred at once: saq has no call for many."""
    ids: list[str] = []
    for start in range(0, len(arguments), 100):
        ids += await asyncio.gather(*(send(name, one) for one in arguments[start : start + 100]))
    return ids


async def wait(task_id: str, timeout_s: float) -> Any:
    job = await queue.job(task_id)
    deadline = time.monotonic() + timeout_s
    while not job.completed and time.monotonic() < deadline:
        try:
            await job.refresh(until_complete=1.0)
        except TimeoutError:  # it missed the news, if there was any
            await job.refresh()
    return job.result
