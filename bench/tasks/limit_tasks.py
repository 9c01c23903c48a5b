"""The measured tasks, for the loops by hand: one drains what celeriac sends, the other answers a bare push."""

# mypy: disable-error-code="import-not-found"

import os
import sys
import uuid
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import celeriac_tasks
from bench.limit.wire import Wire
from celeriac_tasks import send_many

__all__ = ["send", "send_many", "wait"]

_CALLER = uuid.uuid4().hex

_AWAITED = os.environ.get("BENCH_MEASURE") == "latency"
if _AWAITED:
    _calls, _results = Wire(os.environ["BENCH_REDIS"]), Wire(os.environ["BENCH_REDIS"])
    _results.call("SUBSCRIBE", _CALLER)
    _came: dict[str, int] = {}


def send(name: str, argument: Any) -> str:
    """For `bench/limit/echo.py`, which knows one task."""
    task_id = uuid.uuid4().hex
    _calls.call("LPUSH", "limit:calls", f"{task_id} {_CALLER} {argument}")
    return task_id


def wait(task_id: str, timeout_s: float) -> Any:
    if not _AWAITED:
        return celeriac_tasks.wait(task_id, timeout_s)
    while task_id not in _came:
        _, _, result = _results.read()
        came, number = result.split()
        _came[came.decode()] = int(number)
    return _came.pop(task_id)
