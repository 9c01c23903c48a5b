"""A project on a store, its producer in this process, its workers, and the account of what ran."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from celeriac import AsyncResult, Celery
from crash.stores import Store
from support.audit import Audit, Runs
from support.project import Project
from support.waiting import until
from support.worker import WorkerProcess

__all__ = ["Fleet"]

_TASKS = """
import os
import time

from celeriac import Celery
from celeriac.exceptions import Reject

app = Celery("tasks", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
app.conf.update({settings})


def note(request, word, number):
    redelivered = int(bool(request.delivery_info["redelivered"]))
    file = os.open(os.environ["AUDIT"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{{word}} {{number}} {{os.getpid()}} {{redelivered}}\\n".encode())
    os.close(file)


@app.task(bind=True, max_retries=None)
def work(self, number, seconds=0.005):
    note(self.request, "start", number)
    time.sleep(seconds)
    note(self.request, "end", number)
    return number


@app.task(bind=True)
def retrying(self, number):
    note(self.request, "start", number)
    if self.request.retries == 0:
        raise self.retry(countdown=0)
    return number


@app.task(bind=True)
def rejecting(self, number):
    note(self.request, "start", number)
    if not self.request.delivery_info["redelivered"]:
        raise Reject("once more", requeue=True)
    return number


@app.task(bind=True, acks_late=False)
def at_most_once(self, number):
    note(self.request, "start", number)
    return number


@app.task(bind=True)
def failing(self, number):
    note(self.request, "start", number)
    raise ArithmeticError(number)
"""


class Fleet:
    """`settings` are the application's. Tasks are numbered; each run of one leaves its lines in the audit."""

    def __init__(self, project: Project, store: Store, **settings: Any) -> None:
        project.write("tasks", _TASKS.format(settings=settings))
        self.project = project
        self.store = store
        self.audit = Audit(project.folder)
        self.app = Celery("tasks", broker=store.broker, backend=store.backend)
        self._sent = 0

    def send(self, count: int, task: str = "work", *args: Any, **options: Any) -> list[AsyncResult[int]]:
        """Send so many tasks together; each returns its number, and numbers go on from the last call's."""
        numbers = range(self._sent, self._sent + count)
        self._sent += count
        return self._task(task).delay_many(((number, *args) for number in numbers), **options)

    def _task(self, name: str) -> Any:
        whole = f"tasks.{name}"
        if whole not in self.app.tasks:
            self.app.task(name=whole, typing=False)(_any_arguments)
        return self.app.tasks[whole]

    def worker(self, *options: str | int, port: int | None = None, **environment: str) -> WorkerProcess:
        """A worker of the project, to be used in a `with`; it goes to the store through a proxy's port."""
        return self.project.worker(*options, **{**self.environment(port), **environment})

    def environment(self, port: int | None = None) -> dict[str, str]:
        """What the project's module wants to find."""
        broker, backend = self.store.through(port) if port is not None else (self.store.broker, self.store.backend)
        return {"BROKER": broker, "BACKEND": backend, **self.audit.environment}

    def wait_until_begun(self, count: int) -> Runs:
        """Until so many tasks have begun."""
        return self.audit.wait_until(lambda runs: len(runs.started) >= count, f"{count} tasks begun")

    def assert_all_done(self, results: Iterable[AsyncResult[int]], timeout_s: float = 120.0) -> None:
        """Every task ends with its own number as result."""
        results, deadline = list(results), time.monotonic() + timeout_s
        values = [result.get(timeout=max(1.0, deadline - time.monotonic())) for result in results]
        assert values == sorted(values)
        assert len(set(values)) == len(results)

    def wait_until_known(self, workers: int) -> None:
        """Until the store knows so many workers: the dead ones have been taken over and forgotten."""
        until(lambda: len(self.app.broker.nodes()) == workers, f"{workers} workers are known")

    def wait_until_buried(self, count: int) -> None:
        """Until so many dead letters lie there."""
        until(lambda: len(self.app.broker.dead(limit=10_000)) == count, f"{count} dead letters")

    def assert_nothing_is_left(self, letters: int = 0) -> None:
        """When all workers have stopped: no message, no lease, no key, and so many dead letters."""
        assert [state for state in self.app.broker.queues() if state.ready or state.leased or state.delayed] == []
        assert self.app.broker.nodes() == []
        assert len(self.app.broker.dead(limit=10_000)) == letters
        assert (left := self.store.left()) == [], f"left behind: {left}"


def _any_arguments(*args: Any, **kwargs: Any) -> None:
    """Stands for a task that lives in the project."""
