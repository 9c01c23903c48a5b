"""The hand-written loop: `python loop.py PROCESSES BATCH [QUEUE]...` drains what celeriac's `delay` has put into Redis.

A courier thread claims and settles whole batches in one round trip each, the main thread runs them: no retries, no limits,
no signals, no logging, no errors even. What a task queue drains beside it says what all of those cost.
"""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import binascii
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent / "tasks")]

import tally  # noqa: E402

from bench.limit.children import run_in_children  # noqa: E402
from bench.limit.wire import Wire  # noqa: E402

Batch = tuple[int, list[bytes]]


class Headers(msgspec.Struct):
    """The few that a run needs."""

    task: str
    id: str
    ignore_result: bool | None = None


class Properties(msgspec.Struct):
    body_encoding: str | None = None


class Envelope(msgspec.Struct):
    body: str
    headers: Headers
    properties: Properties


class Document(msgspec.Struct):
    """A result as Celery stores it."""

    result: Any
    task_id: str
    date_done: str
    status: str = "SUCCESS"
    traceback: None = None
    children: tuple[()] = ()


def noop(number: int) -> int:
    tally.count()
    return number


def quiet(number: int) -> None:
    tally.count()


def everyday(text: str) -> int:
    tally.count()
    tally.work()
    return len(text)


TASKS: dict[str, Callable[..., Any]] = {"bench.noop": noop, "bench.quiet": quiet, "bench.everyday": everyday}
IGNORED = {"bench.quiet"}
read_envelope = msgspec.json.Decoder(Envelope).decode
read_body = msgspec.json.Decoder().decode
write = msgspec.json.Encoder().encode


def run(raw: bytes) -> tuple[str, bytes]:
    """Key and bytes of the result; no key where it is ignored."""
    envelope = read_envelope(raw)
    headers, body = envelope.headers, envelope.body
    args, kwargs, _ = read_body(binascii.a2b_base64(body) if envelope.properties.body_encoding else body)
    result = TASKS[headers.task](*args, **kwargs)
    if headers.ignore_result or headers.task in IGNORED:
        return "", b""
    done = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    return f"celery-task-meta-{headers.id}", write(Document(result, headers.id, done))


def work(name: str, batch: int, queues: tuple[str, ...]) -> None:
    inbox: queue.SimpleQueue[Batch] = queue.SimpleQueue()
    outbox: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()
    threading.Thread(target=carry, args=(name, batch, queues, inbox, outbox), daemon=True).start()
    while True:
        token, messages = inbox.get()
        ended: list[Any] = []
        for number, raw in enumerate(messages, 1):
            ended += (token + number, *run(raw))
        outbox.put(ended)


def carry(
    name: str,
    batch: int,
    queues: tuple[str, ...],
    inbox: queue.SimpleQueue[Batch],
    outbox: queue.SimpleQueue[list[Any]],
) -> None:
    """Two batches on their way: one that runs, and one that waits behind it."""
    wire = Wire(os.environ["BENCH_REDIS"])
    script = wire.call("SCRIPT", "LOAD", (HERE / "exchange.lua").read_text())
    under_way = 0
    ended: list[Any] = []
    keys = (f"limit:{name}", *queues)
    turn = 0
    while True:
        turn += 1
        rotated = [keys[1 + (turn + i) % len(queues)] for i in range(len(queues))]
        token, messages = wire.call("EVALSHA", script, len(keys), keys[0], *rotated, batch, *ended)
        ended = []
        if messages:
            inbox.put((token, messages))
            under_way += 1
        if under_way >= 2 or (under_way and not messages):
            ended = outbox.get()
            under_way -= 1
        elif not under_way:
            time.sleep(0.001)


if __name__ == "__main__":
    processes, batch_size, *names = sys.argv[1:]
    queues = tuple(names) or ("celery",)
    run_in_children(int(processes), lambda name: work(name, int(batch_size), queues))
