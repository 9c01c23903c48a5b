"""The measured tasks, for rq."""

# mypy: disable-error-code="import-not-found"

import os
from typing import Any

import redis
import tally
from rq import Queue
from rq.job import Job

_REDIS = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/0")

connection = redis.Redis.from_url(_REDIS)
_queues = {name: Queue(name, connection=connection) for name in ("default", "q1", "q2", "q3", "q4")}


def noop(number: int) -> int:
    tally.count()
    return number


def quiet(number: int) -> None:
    tally.count()


def everyday(text: str) -> int:
    tally.count()
    tally.work()
    return len(text)


def _result_ttl_s(name: str) -> int:
    return 0 if name == "quiet" else 86400


def send(name: str, argument: Any) -> str:
    job = _queues["default"].enqueue(f"rq_tasks.{name}", argument, result_ttl=_result_ttl_s(name))
    task_id: str = job.id
    return task_id


def send_many(name: str, arguments: list[Any], queue: str | None = None) -> list[str]:
    chosen = _queues[queue or "default"]
    ids: list[str] = []
    for start in range(0, len(arguments), 1000):
        prepared = [
            Queue.prepare_data(f"rq_tasks.{name}", (one,), result_ttl=_result_ttl_s(name))
            for one in arguments[start : start + 1000]
        ]
        ids += [job.id for job in chosen.enqueue_many(prepared)]
    return ids


def wait(task_id: str, timeout_s: float) -> Any:
    result = Job.fetch(task_id, connection=connection).latest_result(timeout=int(timeout_s))
    return result.return_value
