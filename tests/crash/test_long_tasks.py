"""Tasks longer than the lease: run once beside idle workers, through outages, and taken over when their node dies.

The short version has everything ten times faster, so that a lease is still shorter than a task and an outage than both.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from crash.fleet import Fleet
from crash.scale import patience, sized
from crash.stores import RedisStore
from support.audit import Runs
from support.processes import needs_proc
from support.proxy import Proxy

Figure = Callable[[str], None]
MakeFleet = Callable[..., Fleet]

pytestmark = [needs_proc, patience(120, 300)]

_LEASE_S = sized(1.0, 5.0)
_TASK_S = sized(6.0, 60.0)
_BOTH = pytest.mark.parametrize("kind", ["sqlite", "redis"])


@_BOTH
def test_a_task_of_many_leases_runs_once_with_four_idle_workers_beside_it(
    kind: str, make_fleet: MakeFleet, figure: Figure
) -> None:
    fleet = make_fleet(kind, worker_lease=_LEASE_S)
    results = fleet.send(1, "work", _TASK_S)
    with ExitStack() as stack:
        workers = [stack.enter_context(fleet.worker("-c", 1)) for _ in range(5)]
        fleet.assert_all_done(results)
        assert [worker.stop() for worker in workers] == [0] * 5
    assert _starts(fleet.audit.read()) == {0: 1}
    fleet.assert_nothing_is_left()
    figure(f"{_TASK_S:g} s with a lease of {_LEASE_S:g} s beside four idle workers: ran once")


@pytest.mark.parametrize("kind", sized(["redis"], ["redis", "redis-servers"]))
@pytest.mark.parametrize("how", ["killed", "blackholed", "refused"])
def test_an_outage_of_many_leases_repeats_nothing(how: str, kind: str, make_fleet: MakeFleet, figure: Figure) -> None:
    fleet = make_fleet(kind, worker_lease=_LEASE_S)
    assert isinstance(fleet.store, RedisStore)
    server, outage_s = fleet.store.server, sized(3.0, 60.0 if how == "blackholed" else 20.0)
    results = fleet.send(4, "work", _TASK_S)
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy(server.port))
        runner = stack.enter_context(fleet.worker("-c", 4, port=proxy.port))
        fleet.wait_until_begun(4)
        idle = [stack.enter_context(fleet.worker("-c", 1)) for _ in range(sized(1, 4))]
        for worker in idle:
            worker.wait_until_ready()
        if how == "killed":
            server.kill()
        else:
            {"blackholed": proxy.blackhole, "refused": proxy.refuse}[how]()
            server.pause()  # for those who do not come by the proxy
        time.sleep(outage_s)
        if how == "killed":
            server.start()
        else:
            server.resume()
            proxy.pass_on()
        fleet.assert_all_done(results)
        assert [worker.stop() for worker in [runner, *idle]] == [0] * (1 + len(idle))
        assert "Refused" not in runner.log
    assert _starts(fleet.audit.read()) == dict.fromkeys(range(4), 1)
    fleet.assert_nothing_is_left()
    figure(f"{outage_s:g} s without Redis ({how}) with a lease of {_LEASE_S:g} s: each ran once")


@_BOTH
def test_a_killed_nodes_work_is_taken_over_within_its_lease_and_five_seconds(
    kind: str, make_fleet: MakeFleet, figure: Figure
) -> None:
    lease_s, task_s = sized(2.0, 5.0), sized(3.0, 10.0)
    fleet = make_fleet(kind, worker_lease=lease_s)
    results = fleet.send(4, "work", task_s)
    with fleet.worker("-c", 4) as dying:
        fleet.wait_until_begun(4)
        with fleet.worker("-c", 4) as other:
            other.wait_until_ready()
            dying.kill()
            killed_at = time.monotonic()
            fleet.audit.wait_until(lambda runs: len(runs.repeated) == 4, "all four run again")
            took_s = time.monotonic() - killed_at
            fleet.assert_all_done(results)
            fleet.wait_until_known(1)
            assert other.stop() == 0
    assert took_s < lease_s + 5.0
    assert _starts(fleet.audit.read()) == dict.fromkeys(range(4), 2)
    fleet.assert_nothing_is_left()
    figure(f"tasks of a killed node began elsewhere {took_s:.1f} s later (lease {lease_s:g} s)")


def _starts(runs: Runs) -> dict[int, int]:
    return {number: len(processes) for number, processes in runs.started.items()}
