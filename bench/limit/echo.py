"""The least that `delay().get()` can cost: `python echo.py PROCESSES` answers what `bench/tasks/limit_tasks.py` asks.

A call is one push, a run one blocking pop, a result one SET and one PUBLISH that go together: no lease, no script, no
second thread, and a task is lost with who popped it. What is left is the time of waking server, worker and caller in turn.
"""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent / "tasks")]

import tally  # noqa: E402

from bench.limit.children import run_in_children  # noqa: E402
from bench.limit.wire import Wire  # noqa: E402


def answer_all(_name: str) -> None:
    wire = Wire(os.environ["BENCH_REDIS"])
    while True:
        _, call = wire.call("BRPOP", "limit:calls", 0)
        tally.count()
        task_id, caller, number = call.split()
        wire.call_all(("SET", b"limit:result:" + task_id, number), ("PUBLISH", caller, task_id + b" " + number))


if __name__ == "__main__":
    run_in_children(int(sys.argv[1]), answer_all)
