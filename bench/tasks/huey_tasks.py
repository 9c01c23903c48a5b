"""The measured tasks, for huey: on the Redis that BENCH_REDIS names, else on the SQLite file that BENCH_SQLITE names."""

# mypy: disable-error-code="import-not-found,untyped-decorator"

import os
from typing import Any

import tally
from huey import RedisHuey, SqliteHuey

_REDIS, _SQLITE = os.environ.get("BENCH_REDIS"), os.environ.get("BENCH_SQLITE")

# fsync: a call that has returned is on the disk, as with celeriac's embedded store. That a result announces itself costs
# every task two commands on Redis, and is worth it only where somebody waits.
_WAITED_FOR = os.environ.get("BENCH_MEASURE") in ("latency", "start")
huey = (
    RedisHuey("bench", url=_REDIS, notify_result=_WAITED_FOR)
    if _REDIS
    else SqliteHuey("bench", filename=_SQLITE or "huey.db", fsync=True)
)


@huey.task()
def noop(number: int) -> int:
    tally.count()
    return number


@huey.task()
def quiet(number: int) -> None:  # huey stores no result that is None
    tally.count()


@huey.task()
def everyday(text: str) -> int:
    tally.count()
    tally.work()
    return len(text)


def send(name: str, argument: Any) -> str:
    task_id: str = globals()[name](argument).id
    return task_id


def send_many(name: str, arguments: list[Any], queue: str | None = None) -> list[str]:
    """One by one, and all in one queue, as huey has no other way."""
    task = globals()[name]
    return [task(one).id for one in arguments]


def wait(task_id: str, timeout_s: float) -> Any:
    return huey.result(task_id, blocking=True, timeout=timeout_s)
