"""The measured tasks, for taskiq."""

# mypy: disable-error-code="import-not-found,untyped-decorator"

import asyncio
import os
from typing import Any

import tally
import uvloop
from taskiq import AsyncTaskiqTask
from taskiq.serializers import ORJSONSerializer
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

_REDIS = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/0")
asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())

_results: Any = RedisAsyncResultBackend(_REDIS, serializer=ORJSONSerializer(), result_ex_time=86400)
broker = RedisStreamBroker(_REDIS, consumer_id="0", xread_count=1000).with_serializer(ORJSONSerializer())
# Whether results are kept is the broker's setting, not a task's.
if os.environ.get("BENCH_MEASURE") != "drain-ignored":
    broker = broker.with_result_backend(_results)
_started = False


@broker.task
async def noop(number: int) -> int:
    tally.count()
    return number


@broker.task
async def quiet(number: int) -> None:
    tally.count()


@broker.task
async def everyday(text: str) -> int:
    tally.count()
    await asyncio.sleep(0.001)
    tally.burn()
    return len(text)


@broker.task
async def nap(number: int) -> int:
    tally.count()
    await asyncio.sleep(0.1)
    return number


async def send(name: str, argument: Any) -> str:
    global _started
    if not _started:
        _started = True
        await broker.startup()
    task_id: str = (await globals()[name].kiq(argument)).task_id
    return task_id


async def send_many(name: str, arguments: list[Any], queue: str | None = None) -> list[str]:
    """At the same time, a hundred at once: taskiq has no call for many."""
    ids: list[str] = []
    for start in range(0, len(arguments), 100):
        ids += await asyncio.gather(*(send(name, one) for one in arguments[start : start + 100]))
    return ids


async def wait(task_id: str, timeout_s: float) -> Any:
    # As the handle that `kiq` gives waits; asked often, so that the worker and not the question is measured.
    handle = AsyncTaskiqTask(task_id, _results)
    return (await handle.wait_result(check_interval=0.0005, timeout=timeout_s)).return_value
