"""Clocks that jump, forwards and backwards, of the server and of a worker's host: they cost nobody a lease."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from celeriac import Celery
from support.gate import Gate
from support.processes import needs_proc
from support.project import Client, Project
from support.redis_server import RedisServer
from support.wall_clock import WallClock, needs_compiler

_LEASE_S = 1.0
_HOUR_S = 3600.0

pytestmark = [needs_proc, needs_compiler]


class RedisClient(Client):
    def __init__(self, url: str) -> None:
        self.app = Celery("client", broker=url)


@pytest.fixture
def clock(tmp_path: Path) -> WallClock:
    return WallClock(tmp_path)


@pytest.fixture
def server(tmp_path: Path, clock: WallClock) -> Iterator[RedisServer]:
    """A Redis whose clock the test turns."""
    server = RedisServer(tmp_path / "redis")
    with pytest.MonkeyPatch.context() as patched:
        for name, value in clock.environment.items():
            patched.setenv(name, value)
        server.start()
    yield server
    server.kill()


@pytest.fixture
def client(project: Project, server: RedisServer) -> Iterator[Client]:
    project.with_common_tasks(worker_lease=_LEASE_S, broker_url=server.url())
    with RedisClient(server.url()) as client:
        yield client


def test_no_worker_loses_its_lease_when_the_servers_clock_jumps(
    project: Project, client: Client, clock: WallClock, gate: Gate
) -> None:
    with project.worker("-c", 1) as one, project.worker("-c", 1) as two:
        one.wait_until_ready()
        two.wait_until_ready()
        result = client.send("hold", gate.port, "held")
        arrival = gate.arrival()
        for ahead_s in (_HOUR_S, -_HOUR_S, 0.0, 2 * _LEASE_S, 0.0):
            clock.ahead(ahead_s)
            assert client.run("add", 1, 1) == 2
            assert gate.stays_empty(2.5 * _LEASE_S)
        arrival.open()
        assert result.get(timeout=30) == "held"
        for log in (one.log, two.log):
            assert "Refused" not in log
            assert "not known any more" not in log
            assert "will run again" not in log


@pytest.mark.parametrize("ahead_s", [_HOUR_S, -_HOUR_S])
def test_a_worker_that_dies_at_a_jump_of_the_servers_clock_is_taken_over_from_soon(
    ahead_s: float, project: Project, client: Client, clock: WallClock, gate: Gate, figure: Callable[[str], None]
) -> None:
    with project.worker("-c", 1) as worker:
        result = client.send("hold", gate.port, "held")
        gate.arrival()
        with project.worker("-c", 1) as other:
            other.wait_until_ready()
            time.sleep(1.5 * _LEASE_S)  # so that it would have taken over from us at once
            clock.ahead(ahead_s)
            worker.kill()
            killed = time.monotonic()
            gate.arrival().open()
            took_s = time.monotonic() - killed
            assert result.get(timeout=30) == "held"
    figure(f"{took_s:.1f} s after kill -9 and a jump by {ahead_s:+g} s, with a lease of {_LEASE_S:g} s")
    assert took_s < 2 * _LEASE_S + 5


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_no_worker_loses_its_lease_when_its_own_clock_jumps(
    store: str, project: Project, tmp_path: Path, clock: WallClock, gate: Gate
) -> None:
    with RedisServer(tmp_path / "steady") as server:
        url = {"broker_url": server.url()} if store == "redis" else {}
        project.with_common_tasks(worker_lease=_LEASE_S, **url)
        with (
            RedisClient(server.url()) if store == "redis" else project.client() as client,
            project.worker("-c", 2, **clock.environment) as worker,
            project.worker("-c", 1) as other,
        ):
            other.wait_until_ready()
            results = [client.send("hold", gate.port, "held") for _ in range(3)]
            arrivals = [gate.arrival() for _ in range(3)]
            for ahead_s in (_HOUR_S, -_HOUR_S, 0.0):
                clock.ahead(ahead_s)
                assert gate.stays_empty(2 * _LEASE_S)
            for arrival in arrivals:
                arrival.open()
            assert [result.get(timeout=30) for result in results] == ["held"] * 3
            assert client.run("add", 1, 1) == 2
            assert "Refused" not in worker.log + other.log
            assert "will run again" not in worker.log + other.log
