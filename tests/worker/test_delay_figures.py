"""What waiting costs: how punctual delayed work begins, and what a hundred thousand delayed tasks weigh."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from celeriac import Celery
from support.processes import machine_load, needs_proc, pss_bytes, tree_of
from support.project import Project
from support.redis_server import RedisServer
from support.waiting import until

Figure = Callable[[str], None]
_MANY = 100_000


@pytest.fixture(params=["sqlite", "redis"])
def apart(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Project, Celery]]:
    """A project on each store, and a client of the store."""
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path}/.celeriac/celeriac.db"
        if request.param == "redis":
            url = stack.enter_context(RedisServer(tmp_path / "redis")).url()
        project = Project(tmp_path).with_common_tasks(broker_url=url)
        yield project, stack.enter_context(Celery("client", broker=url))


def moment(app: Celery, **options: Any) -> float:
    return float(app.send_task("tasks.moment", **options).get(timeout=60))


def test_delayed_tasks_start_when_they_are_due(apart: tuple[Project, Celery], figure: Figure) -> None:
    project, app = apart
    with project.worker("-c", 2, level="warning") as worker:
        worker.wait_for("tasks.moment")
        moment(app)
        with machine_load() as load:
            late = []
            for number in range(20):
                due = time.time() + 0.2 + number / 100
                eta = app.now().fromtimestamp(due, app.timezone)
                late.append(moment(app, eta=eta) - due)
    figure(f"{statistics.median(late) * 1000:.1f} ms after its time (median of 20; most {max(late) * 1000:.1f})")
    assert min(late) > -0.002
    assert max(late) < (0.05 if load.at_rest else 5.0)


@needs_proc
def test_a_hundred_thousand_delayed_tasks_weigh_nothing_in_a_worker(
    apart: tuple[Project, Celery], figure: Figure
) -> None:
    project, app = apart
    job = app.task(name="tasks.moment")(lambda: None)
    with project.worker("-c", 2, level="warning") as worker:
        worker.wait_for("tasks.moment")
        for _ in range(20):
            moment(app)
        processes = tree_of(worker.pid)
        before = pss_bytes(processes)
        began = time.monotonic()
        with machine_load() as load:
            job.delay_many([() for _ in range(_MANY)], countdown=3600)
            sent_s = time.monotonic() - began
            gc.collect()
            late = []
            for _ in range(20):
                called = time.time()
                late.append(moment(app) - called)
                due = time.time() + 0.05
                late.append(moment(app, countdown=0.05) - due)
        grown = pss_bytes(processes) - before
        (state,) = [one for one in app.broker.queues() if one.name == "celery"]
        assert state.delayed == _MANY
    figure(
        f"worker grown by {grown / 1e6:.2f} MB; sent in {sent_s:.1f} s; "
        f"what is due now starts after {statistics.median(late) * 1000:.1f} ms (most {max(late) * 1000:.1f})"
    )
    assert grown < 5_000_000
    assert sent_s < (30 if load.at_rest else 200)
    assert max(late) < (0.1 if load.at_rest else 5.0)


def test_messages_that_leave_the_waiting_to_the_worker_are_moved_to_the_store(tmp_path: Path, figure: Figure) -> None:
    """As Celery's producers send them: with an ETA, in the list. No worker of ours was there when these were sent."""
    count = 20_000
    with RedisServer(tmp_path / "redis") as server, Celery("client", broker=server.url()) as app:
        project = Project(tmp_path).with_common_tasks(broker_url=server.url())
        app.task(name="tasks.moment")(lambda: None).delay_many([() for _ in range(count)], countdown=3600)
        (state,) = app.broker.queues()
        assert (state.ready, state.delayed) == (count, 0)
        with project.worker("-c", 2, level="warning") as worker:
            worker.wait_for("tasks.moment")
            began = time.monotonic()
            now = app.send_task("tasks.moment")
            until(lambda: app.broker.queues()[0].delayed == count, "all are moved", timeout_s=120)
            moved_s = time.monotonic() - began
            now.get(timeout=30)
            (state,) = app.broker.queues()
            assert (state.ready, state.leased) == (0, 0)
    figure(f"{count} moved within {moved_s:.2f} s, {count / moved_s:,.0f}/s")
