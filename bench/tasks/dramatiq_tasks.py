"""The measured tasks, for Dramatiq."""

# mypy: disable-error-code="import-not-found,untyped-decorator"

import os
from typing import Any

import dramatiq
import tally
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

_REDIS = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/0")
QUEUES = ("default", "q1", "q2", "q3", "q4")

_results = RedisBackend(url=_REDIS)
# Without the Prometheus exposition that is on by default, and costs.
broker = RedisBroker(url=_REDIS)
broker.add_middleware(Results(backend=_results))
dramatiq.set_broker(broker)
for _queue in QUEUES:
    broker.declare_queue(_queue)


@dramatiq.actor(store_results=True)
def noop(number: int) -> int:
    tally.count()
    return number


@dramatiq.actor
def quiet(number: int) -> None:
    tally.count()


@dramatiq.actor(store_results=True)
def everyday(text: str) -> int:
    tally.count()
    tally.work()
    return len(text)


def _id(message: Any) -> str:
    """What names its result: more than its id."""
    return f"{message.queue_name}/{message.actor_name}/{message.message_id}"


def send(name: str, argument: Any) -> str:
    return _id(globals()[name].send(argument))


def send_many(name: str, arguments: list[Any], queue: str | None = None) -> list[str]:
    """One by one: Dramatiq's groups do the same."""
    actor = globals()[name]
    messages = [actor.message(one).copy(queue_name=queue or "default") for one in arguments]
    for message in messages:
        broker.enqueue(message)
    return [_id(message) for message in messages]


def wait(task_id: str, timeout_s: float) -> Any:
    queue, actor, message_id = task_id.split("/")
    message = dramatiq.Message(
        queue_name=queue, actor_name=actor, args=(), kwargs={}, options={}, message_id=message_id
    )
    return message.get_result(backend=_results, block=True, timeout=int(timeout_s * 1000))
