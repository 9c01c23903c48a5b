"""When tasks start, and in which order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from support.gate import Gate
from support.processes import machine_load
from support.project import Client, Project

_AT_REST_S = 0.05
_UNDER_LOAD_S = 5.0


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project(tmp_path_factory.mktemp("times")).with_common_tasks(timezone="Europe/Vienna")
    with project.worker("-c", 1) as worker:
        worker.wait_until_ready()
        yield project
        assert worker.stop() == 0, worker.log


def test_a_countdown_ends_when_it_should(client: Client, figure: Callable[[str], None]) -> None:
    late = []
    with machine_load() as load:
        for _ in range(5):
            due = time.time() + 0.3
            late.append(client.run("moment", countdown=0.3) - due)
    late.sort()
    figure(f"started {late[2] * 1000:.1f} ms after it was due (median of 5; most {late[-1] * 1000:.1f})")
    assert late[0] >= -0.001
    assert late[2] < (_AT_REST_S if load.at_rest else _UNDER_LOAD_S)


def test_an_eta_is_a_moment_aware_or_in_the_applications_time_zone(project: Project, client: Client) -> None:
    due = datetime.now(UTC) + timedelta(seconds=0.5)
    started = client.run("moment", eta=due)
    assert -0.001 <= started - due.timestamp() < _UNDER_LOAD_S
    told = project.python(
        """
        from datetime import datetime, timedelta
        from zoneinfo import ZoneInfo
        from tasks import moment
        due = datetime.now(ZoneInfo("Europe/Vienna")) + timedelta(seconds=0.5)
        print(moment.apply_async(eta=due.replace(tzinfo=None)).get(timeout=30) - due.timestamp())
        """
    )
    assert -0.001 <= float(told.stdout) < _UNDER_LOAD_S


def test_what_is_due_sooner_starts_sooner_whenever_it_was_sent(client: Client) -> None:
    later = client.send("moment", countdown=0.6)
    sooner = client.send("moment", countdown=0.2)
    at_once = client.send("moment")
    moments = [result.get(timeout=30) for result in (at_once, sooner, later)]
    assert moments == sorted(moments)


def test_a_waiting_task_occupies_no_one(client: Client) -> None:
    waiting = [client.send("moment", countdown=60, queue="celery") for _ in range(20)]
    assert client.run("add", 1, 1) == 2
    assert client.queue().delayed == 20
    assert client.app.broker.purge("celery") == 20
    assert waiting[0].state == "PENDING"


def test_tasks_start_by_priority_then_in_the_order_they_were_sent(client: Client, gate: Gate) -> None:
    first = client.send("hold", gate.port, "first")
    holding = gate.arrival()
    for word, priority in (("c", 9), ("a", 3), ("b", 3), ("none", None)):
        client.send("hold", gate.port, word, priority=priority)
    holding.open()
    order = []
    for _ in range(4):
        arrival = gate.arrival()
        order.append(arrival.word)
        arrival.open()
    assert order == ["none", "a", "b", "c"]
    assert first.get(timeout=30) == "first"


def test_a_task_that_expires_while_it_waits_does_not_run(client: Client, gate: Gate) -> None:
    client.send("hold", gate.port)
    holding = gate.arrival()
    expiring = client.send("add", 71, 7, expires=0.2)
    deadline = time.monotonic() + 0.25
    while time.monotonic() < deadline:
        time.sleep(0.05)
    holding.open()
    assert type(expiring.get(timeout=30, propagate=False)).__name__ == "TaskRevokedError"
