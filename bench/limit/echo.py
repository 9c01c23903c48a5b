"""The least that `delay().get()` can cost: `python echo.py PROCESSES` answers what `bench/tasks/limit_tasks.py` asks.

A call is one push, a run one blocking pop, a result one SET and one PUBLISH that go together: no lease, no script, no
second thread. What it takes is the time of a round trip and of waking caller, server and worker in turn.
"""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent / "tasks")]

import tally  # noqa: E402

from bench.limit.wire import Wire  # noqa: E402


def answer_all() -> None:
    wire = Wire(os.environ["BENCH_REDIS"])
    while True:
        _, call = wire.call("BRPOP", "limit:calls", 0)
        tally.count()
        task_id, caller, number = call.split()
        wire.call_all(("SET", b"limit:result:" + task_id, number), ("PUBLISH", caller, task_id + b" " + number))


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=answer_all, daemon=True) for _ in range(int(sys.argv[1]))]
    for child in children:
        child.start()
    for child in children:
        child.join()
