"""The calling end of a benchmark, run by a peer's own Python: `python driver.py TASKS STEP [ARGUMENT]...`, in `bench/tasks`.

Prints one JSON object a line. Plain Python without imports from the rest of the bench, since the peer's environment has
only the peer. A tasks module has the tasks and offers, as plain or (for an asyncio library) as coroutine functions:

    send(name, argument)               call the task of this name once; gives its id
    send_many(name, arguments, queue)  call it with each of these in the best way there is; gives the ids
    wait(task_id, timeout_s)           the result, as soon as it is there
    send_together(name, argument)      (optional) the coroutine function for callers that are coroutines, if it is not `send`
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import inspect
import json
import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any

GET_TIMEOUT_S = 60.0
WARM_CALLS = 20
REST_S = 0.01
SAMPLE = 200
EVERYDAY_TEXT = "x" * 1000
QUEUES = ("q1", "q2", "q3", "q4")


def say(**values: object) -> None:
    print(json.dumps(values), flush=True)


def expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise SystemExit(f"wrong: {what} is {found!r} and should be {wanted!r}")


async def told(value: Any) -> Any:
    """The value, or what a coroutine function's call gives: so that both kinds of peers are driven by the same code."""
    return await value if inspect.isawaitable(value) else value


class Driver:
    """The steps, by name."""

    def __init__(self, tasks: Any) -> None:
        self._tasks = tasks
        self._is_async = inspect.iscoroutinefunction(tasks.send)

    async def enqueue(self, count: str) -> None:
        """So many calls, one after the other, while no worker runs."""
        send = self._tasks.send
        for number in range(WARM_CALLS):
            await told(send("noop", number))
        started = time.perf_counter()
        if self._is_async:
            ids = [await send("noop", number) for number in range(int(count))]
        else:
            ids = [send("noop", number) for number in range(int(count))]
        self._say_rate(ids, int(count), started)

    async def enqueue_many(self, count: str) -> None:
        """So many calls at once, while no worker runs."""
        await told(self._tasks.send_many("noop", list(range(WARM_CALLS))))
        started = time.perf_counter()
        ids = await told(self._tasks.send_many("noop", list(range(int(count)))))
        self._say_rate(ids, int(count), started)

    async def enqueue_together(self, count: str) -> None:
        """As many coroutines as that, each of which makes one call."""
        send = getattr(self._tasks, "send_together", self._tasks.send)
        await asyncio.gather(*(send("noop", number) for number in range(WARM_CALLS)))
        started = time.perf_counter()
        ids = await asyncio.gather(*(send("noop", number) for number in range(int(count))))
        self._say_rate(ids, int(count), started)

    @staticmethod
    def _say_rate(ids: list[str], count: int, started: float) -> None:
        took = time.perf_counter() - started
        expect("number of different ids", len(set(ids)), count)
        say(calls_per_s=count / took)

    async def backlog(self, name: str, count: str) -> None:
        """Put so many calls of a task into the queue; tells some of the ids, with the results they should have."""
        number = int(count)
        if name == "everyday":
            ids = []
            for queue in QUEUES:
                ids += await told(self._tasks.send_many(name, [EVERYDAY_TEXT] * (number // len(QUEUES)), queue))
            results = [len(EVERYDAY_TEXT)] * len(ids)
        else:
            results = list(range(1, number + 1))  # no 0, which some keep as nothing
            ids = await told(self._tasks.send_many(name, results))
        chosen = random.sample(range(len(ids)), min(SAMPLE, len(ids)))
        say(ids=[ids[one] for one in chosen], results=[results[one] for one in chosen], count=len(ids))

    async def check(self) -> None:
        """Whether the results are there that stdin tells of."""
        asked = json.loads(sys.stdin.readline())
        for task_id, result in zip(asked["ids"], asked["results"], strict=True):
            expect(f"the result of {task_id}", await told(self._tasks.wait(task_id, GET_TIMEOUT_S)), result)
        say(checked=len(asked["ids"]))

    async def latency(self, count: str) -> None:
        """A call and the wait for its result, with a rest before each, so that the worker waits for it."""
        await self._warm_up()
        took_ms = []
        for number in range(1, int(count) + 1):
            await asyncio.sleep(REST_S)
            started = time.perf_counter()
            task_id = await told(self._tasks.send("noop", number))
            found = await told(self._tasks.wait(task_id, GET_TIMEOUT_S))
            took_ms.append((time.perf_counter() - started) * 1000)
            expect("the result", found, number)
        say(took_ms=took_ms)

    async def first(self) -> None:
        """Send one task, tell so, and tell the time at which its result is there."""
        task_id = await told(self._tasks.send("noop", 5))
        say(ready=True)
        expect("the result", await told(self._tasks.wait(task_id, GET_TIMEOUT_S)), 5)
        say(monotonic_s=time.monotonic())

    async def warm(self) -> None:
        """See the worker at work and come to rest."""
        await self._warm_up()
        say(ready=True)

    async def _warm_up(self) -> None:
        ids = [await told(self._tasks.send("noop", number)) for number in range(1, WARM_CALLS + 1)]
        for number, task_id in enumerate(ids, 1):
            expect("the result", await told(self._tasks.wait(task_id, GET_TIMEOUT_S)), number)

    async def calls_for(self, seconds: str) -> None:
        """One call after the other for so long; tells how long each took."""
        send, took_ms = self._tasks.send, []
        await told(send("noop", 0))
        say(ready=True)
        sys.stdin.readline()
        end = time.perf_counter() + float(seconds)
        while (started := time.perf_counter()) < end:
            await told(send("noop", 1))
            took_ms.append((time.perf_counter() - started) * 1000)
        say(took_ms=took_ms)

    async def above_bare(self, count: str) -> None:
        """`delay` and a bare LPUSH of the same bytes over a plain socket, in turn, call by call: celeriac's own cost."""
        from bench.limit.wire import Wire  # with hiredis, which celeriac's environment has

        send, wire = self._tasks.send, Wire(os.environ["BENCH_REDIS"])
        send("noop", 0)
        (raw,) = wire.call("LRANGE", "celery", 0, 0)
        took_us: dict[str, list[float]] = {"delay": [], "bare": []}
        for number in range(int(count)):
            started = time.perf_counter()
            send("noop", number)
            between = time.perf_counter()
            wire.call("LPUSH", "bare", raw)
            ended = time.perf_counter()
            took_us["delay"].append((between - started) * 1e6)
            took_us["bare"].append((ended - between) * 1e6)
        say(**took_us)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("tasks")
    parser.add_argument("step")
    parser.add_argument("arguments", nargs="*")
    options = parser.parse_args()
    sys.path[:0] = [os.getcwd(), os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
    tasks = importlib.import_module(options.tasks)
    step: Callable[..., Any] = getattr(Driver(tasks), options.step)
    asyncio.run(step(*options.arguments))


if __name__ == "__main__":
    main()
