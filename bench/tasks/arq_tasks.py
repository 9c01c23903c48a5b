"""The measured tasks, for arq."""

# mypy: disable-error-code="import-not-found"

import asyncio
import json
import os
from typing import Any, ClassVar

import tally
import uvloop
from arq import create_pool, func
from arq.connections import RedisSettings
from arq.jobs import Job

_REDIS = RedisSettings.from_dsn(os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/0"))
asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
_pool: Any = None


def _dumps(value: Any) -> bytes:
    return json.dumps(value, default=str).encode()


async def noop(_context: Any, number: int) -> int:
    tally.count()
    return number


async def quiet(_context: Any, number: int) -> None:
    tally.count()


async def everyday(_context: Any, text: str) -> int:
    tally.count()
    await asyncio.sleep(0.001)
    tally.burn()
    return len(text)


async def nap(_context: Any, number: int) -> int:
    tally.count()
    await asyncio.sleep(0.1)
    return number


class WorkerSettings:
    functions: ClassVar = [noop, func(quiet, keep_result=0), everyday, nap]
    redis_settings = _REDIS
    max_jobs = int(os.environ.get("BENCH_CONCURRENCY", "100"))
    poll_delay = 0.005
    keep_result = 86400
    job_serializer = staticmethod(_dumps)
    job_deserializer = staticmethod(json.loads)


async def _connected() -> Any:
    global _pool
    if _pool is None:
        _pool = await create_pool(_REDIS, job_serializer=_dumps, job_deserializer=json.loads)
    return _pool


async def send(name: str, argument: Any) -> str:
    pool = await _connected()
    task_id: str = (await pool.enqueue_job(name, argument)).job_id
    return task_id


async def send_many(name: str, arguments: list[Any], queue: str | None = None) -> list[str]:
    """At the same time, a hundred at once: arq has no call for many."""
    ids: list[str] = []
    for start in range(0, len(arguments), 100):
        ids += await asyncio.gather(*(send(name, one) for one in arguments[start : start + 100]))
    return ids


async def wait(task_id: str, timeout_s: float) -> Any:
    pool = await _connected()
    job = Job(task_id, pool, _deserializer=json.loads)
    return await job.result(timeout=timeout_s, poll_delay=0.0005)
