"""`celeriac recover`: for when no worker is left to take over from the dead."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from celeriac import Celery
from celeriac.engines.base import Node
from celeriac.exceptions import WorkerLostError
from support.gate import Gate
from support.project import Client, Project
from support.redis_server import RedisServer
from support.waiting import until

_LEASE_S = 2.0


class RedisClient(Client):
    def __init__(self, url: str) -> None:
        self.app = Celery("client", broker=url)


@pytest.fixture(params=["sqlite", "redis"])
def client(request: pytest.FixtureRequest, project: Project, tmp_path: Path) -> Iterator[Client]:
    """Of a project whose workers have a short lease, on either store."""
    if request.param == "sqlite":
        project.with_common_tasks(worker_lease=_LEASE_S)
        with project.client() as client:
            yield client
    else:
        with RedisServer(tmp_path / "redis") as server, RedisClient(server.url()) as client:
            project.with_common_tasks(worker_lease=_LEASE_S, broker_url=server.url())
            yield client


def test_the_work_of_a_dead_worker_goes_back(project: Project, client: Client, gate: Gate) -> None:
    with project.worker("-c", 2, "-n", "gone@%h") as worker:
        held = [client.send("hold", gate.port, word) for word in "ab"]
        lost = client.send("hold_at_most_once", gate.port)
        gate.arrival(), gate.arrival()
        worker.kill()
    _until_it_shows(client)
    said = project.celeriac("-A", "tasks", "recover")
    assert said.returncode == 0, said.stderr
    assert re.fullmatch(r"2 tasks of gone@\S+ \(silent for \d+ s\) went back to the queues\.\n", said.stdout)
    assert "will run again: its worker died (delivery 1 of 3)" in said.stderr
    assert client.app.broker.nodes() == []
    assert (client.queue().ready, client.queue().leased) == (3, 0)
    assert [result.state for result in (*held, lost)] == ["PENDING"] * 3


def test_what_must_not_run_again_has_failed_and_its_caller_is_told(
    project: Project, client: Client, gate: Gate
) -> None:
    with project.worker("-c", 1) as worker:
        result = client.send("hold_at_most_once", gate.port)
        gate.arrival()
        worker.kill()
    _until_it_shows(client)
    found = json.loads(project.celeriac("-q", "-A", "tasks", "recover", "--json").stdout)
    (dead,) = found.pop("workers")
    assert found == {"returned": 0, "failed": 1, "buried": 0}
    assert (dead["held"], dead["silent_for_s"] >= 0) == (1, True)
    assert type(result.get(timeout=30, propagate=False)) is WorkerLostError


def test_with_nobody_dead_there_is_nothing_to_do(project: Project, client: Client) -> None:
    with project.worker("-c", 1) as worker:
        worker.wait_until_ready()
        said = project.celeriac("-A", "tasks", "recover")
        assert said.returncode == 0
        assert re.search(r"^Nothing to recover: no worker of .* is dead\. Alive: celery@\S+ \(silent for", said.stdout)
        assert json.loads(project.celeriac("-A", "tasks", "recover", "-j").stdout) == {
            "returned": 0,
            "failed": 0,
            "buried": 0,
            "workers": [],
        }
        assert client.run("add", 1, 1) == 2


def test_on_redis_it_waits_for_a_lease_and_gives_up_when_told(project: Project, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as server, RedisClient(server.url()) as client:
        project.with_common_tasks(broker_url=server.url())
        client.app.broker.register(Node("gone", "gone@h", "h", 1, "solo", 1, ("celery",), lease_s=0.2))
        _until_it_shows(client)
        said = project.celeriac("-A", "tasks", "recover", "--timeout", "0.5")
        assert said.returncode == 1
        assert "Note: waiting 15 s" in said.stderr
        assert re.search(r"Error: after 0\.5 s the work of gone@h \(silent for \d+ s\) is not taken over", said.stderr)
        assert [state.node.id for state in client.app.broker.nodes()] == ["gone"]


def _until_it_shows(client: Client) -> None:
    until(lambda: [state.alive for state in client.app.broker.nodes()] == [False], "the worker is known to be dead")
