"""What tests have other processes do at an SQLite store, as programs that use celeriac do (`Peer.run`)."""

from __future__ import annotations

import itertools
import sqlite3
import time
from typing import Any

from celeriac import Celery
from celeriac.exceptions import OperationalError

__all__ = ["integrity", "send_all", "send_for_ever", "send_timed", "send_until_full"]


def send_all(_broker: Any, url: str, task: str, calls: list[tuple[Any, ...]]) -> list[str]:
    """Send a task with each of these arguments; the ids."""
    app = Celery("producer", broker=url)
    ids = [app.send_task(task, arguments).id for arguments in calls]
    app.close()
    return ids


def send_until_full(_broker: Any, url: str, task: str, size: int) -> tuple[list[str], float, str]:
    """Send tasks until it fails: the ids of those that passed, and how long the last one took to fail, with which words."""
    app = Celery("producer", broker=url)
    sent: list[str] = []
    while True:
        began = time.monotonic()
        try:
            sent.append(app.send_task(task, (len(sent), "x" * size)).id)
        except OperationalError as error:
            app.close()
            return sent, time.monotonic() - began, str(error)


def send_for_ever(_broker: Any, url: str, task: str, log: str, first: int) -> None:
    """Send tasks with growing numbers; write down the ids and numbers of those that were taken."""
    app = Celery("producer", broker=url)
    with open(log, "ab", buffering=0) as sent:
        for number in itertools.count(first):
            result = app.send_task(task, (number,))
            sent.write(f"{result.id} {number}\n".encode())
            time.sleep(0.01)  # about as many as a worker does, so that it has little to catch up with at the end


def integrity(_broker: Any, path: str) -> str:
    """What SQLite thinks of the file."""
    connection = sqlite3.connect(path)
    try:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        connection.close()


def send_timed(_broker: Any, url: str, count: int) -> list[float]:
    """How long each of so many calls of a task took, in seconds."""
    app = Celery("producer", broker=url)
    took = []
    for number in range(count):
        began = time.perf_counter()
        app.send_task("tasks.work", (number,))
        took.append(time.perf_counter() - began)
    app.close()
    return took
