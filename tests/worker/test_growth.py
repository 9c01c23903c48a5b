"""A worker that has run many tasks of all kinds holds no more memory than one that has run some."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from celeriac import Celery
from support.processes import needs_proc, pss_bytes, tree_of
from support.project import Project
from support.redis_server import RedisServer
from support.waiting import until

Figure = Callable[[str], None]

TASKS = """
from celeriac import Celery

app = Celery("tasks")


@app.task
def give(number):
    return number


@app.task
def fail(number):
    raise ValueError(number)


@app.task(bind=True)
def again(self, number):
    self.update_state(state="TRYING")
    if self.request.retries < 1:
        raise self.retry(countdown=0)
    return number
"""


@pytest.fixture(params=["sqlite", "redis"])
def apart(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Project, Celery]]:
    """A project on each store, and a client of the store."""
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path}/.celeriac/celeriac.db"
        if request.param == "redis":
            url = stack.enter_context(RedisServer(tmp_path / "redis")).url()
        project = Project(tmp_path).write("tasks", TASKS.replace('("tasks")', f'("tasks", broker="{url}")'))
        yield project, stack.enter_context(Celery("client", broker=url))


@needs_proc
def test_ten_thousand_tasks_leave_nothing_in_a_worker(apart: tuple[Project, Celery], figure: Figure) -> None:
    project, app = apart
    calls = {name: app.task(name=f"tasks.{name}")(lambda number: None) for name in ("give", "fail", "again", "unknown")}
    numbers = itertools.count()

    def everything(count: int) -> None:
        shares = {"give": count * 7 // 10, "fail": count // 10, "again": count // 10, "unknown": count // 50}
        for name, share in shares.items():
            calls[name].delay_many([(next(numbers),) for _ in range(share)])
        revoked = calls["give"].delay_many([(next(numbers),) for _ in range(count // 50)], countdown=3600)
        app.control.revoke([handle.id for handle in revoked])
        until(lambda: not any(one.ready or one.leased for one in app.broker.queues()), "all are done", 60, 0.1)

    with project.worker("-c", 2, level="critical") as worker:
        app.send_task("tasks.give", (0,)).get(timeout=60)
        processes = tree_of(worker.pid)
        everything(6000)  # until then pages that it shares with its template become its own
        before = pss_bytes(processes)
        for _ in range(5):
            everything(2000)
        grown = pss_bytes(processes) - before
    figure(f"grown by {grown / 1e6:.2f} MB")
    assert grown < 6_000_000  # one message, or one result, kept of each task would be more
