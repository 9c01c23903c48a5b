"""Redis dies, cuts, swallows answers and more, while tasks of 5 ms run: nothing is lost and nothing runs twice."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from crash.fleet import Fleet
from crash.scale import Chance, patience, sized
from crash.stores import RedisStore
from support.processes import needs_proc
from support.proxy import Proxy

Figure = Callable[[str], None]
MakeFleet = Callable[..., Fleet]

pytestmark = [needs_proc, patience(240, 900)]

_TASKS = sized(1500, 3000)
_CHILDREN = 4
_SETTINGS = {"worker_lease": 2.0, "broker_connection_timeout": 1.0}


def test_a_server_killed_twenty_times_loses_nothing(make_fleet: MakeFleet, chance: Chance, figure: Figure) -> None:
    fleet, kills = make_fleet("redis", **_SETTINGS), 20
    assert isinstance(fleet.store, RedisStore)
    results = fleet.send(_TASKS)
    with fleet.worker("-c", _CHILDREN) as worker:
        for begun in sorted(chance.sample(range(10, _TASKS * 9 // 10), kills)):
            fleet.wait_until_begun(begun)
            fleet.store.server.kill()
            fleet.store.server.start()
        fleet.assert_all_done(results)
        assert worker.stop() == 0
    fleet.assert_nothing_is_left()
    assert fleet.audit.read().repeated == set()  # no worker died: what had run was committed when the server was back
    figure(f"lost 0 of {_TASKS}, ran twice 0 at {kills} kills of Redis (seed {chance.number})")


def test_connections_cut_twenty_times_lose_nothing(make_fleet: MakeFleet, chance: Chance, figure: Figure) -> None:
    fleet, cuts = make_fleet("redis", **_SETTINGS), 20
    assert isinstance(fleet.store, RedisStore)
    results = fleet.send(_TASKS)
    with Proxy(fleet.store.server.port) as proxy, fleet.worker("-c", _CHILDREN, port=proxy.port) as worker:
        for begun in sorted(chance.sample(range(10, _TASKS * 9 // 10), cuts)):
            fleet.wait_until_begun(begun)
            chance.choice([proxy.cut, proxy.reset])()
        fleet.assert_all_done(results)
        assert worker.stop() == 0
    fleet.assert_nothing_is_left()
    assert fleet.audit.read().repeated == set()
    figure(f"lost 0 of {_TASKS}, ran twice 0 at {cuts} cuts and resets of all connections (seed {chance.number})")


def test_a_hundred_swallowed_answers_lose_nothing(make_fleet: MakeFleet, figure: Figure) -> None:
    fleet = make_fleet("redis", **_SETTINGS, broker_transport_options={"socket_timeout": 0.25})
    assert isinstance(fleet.store, RedisStore)
    results = fleet.send(_TASKS)
    with Proxy(fleet.store.server.port) as proxy, fleet.worker("-c", _CHILDREN, port=proxy.port) as worker:
        fleet.wait_until_begun(10)
        proxy.swallow(b"EVALSHA", count=100, every=3)
        fleet.assert_all_done(results)
        while proxy.swallowed < 100:
            more = fleet.send(200)
            fleet.assert_all_done(more)
            results += more
        assert worker.stop() == 0
    fleet.assert_nothing_is_left()
    assert fleet.audit.read().repeated == set()
    figure(f"lost 0 of {len(results)}, ran twice 0 with {proxy.swallowed} answers to claims and commits swallowed")


# ── one trouble after another ────────────────────────────────────────────────────────────────────────────────────────

#: What the proxy does, for how long at most, and within what time after it tasks are consumed again.
_SOON_S, _AFTER_SILENCE_S = 2.0, 10.0
_TROUBLES: dict[str, tuple[Callable[[Proxy], None], float]] = {
    "delay": (lambda proxy: setattr(proxy, "delay_s", 0.05), _SOON_S),
    "drip": (lambda proxy: setattr(proxy, "drip_bytes", 200), _SOON_S),
    "cut": (Proxy.cut, _SOON_S),
    "reset": (Proxy.reset, _SOON_S),
    "refuse": (Proxy.refuse, _SOON_S),
    "blackhole": (Proxy.blackhole, _SOON_S),
    "half-open": (Proxy.half_open, _AFTER_SILENCE_S),
    "swallow": (lambda proxy: proxy.swallow(b"EVALSHA", 1), _AFTER_SILENCE_S),
}


@pytest.mark.parametrize("kind", sized(["redis"], ["redis", "redis-servers"]))
def test_one_trouble_after_another_loses_nothing_and_is_soon_over(
    kind: str, make_fleet: MakeFleet, chance: Chance, figure: Figure
) -> None:
    fleet = make_fleet(kind, **{**_SETTINGS, "worker_lease": 15.0})
    assert isinstance(fleet.store, RedisStore)
    rounds = [*chance.sample(sorted(_TROUBLES), len(_TROUBLES)), *chance.choices(sorted(_TROUBLES), k=sized(0, 12))]
    results, slowest = [], dict.fromkeys(_TROUBLES, 0.0)
    with Proxy(fleet.store.server.port) as proxy, fleet.worker("-c", _CHILDREN, port=proxy.port) as worker:
        worker.wait_until_ready()
        for trouble in rounds:
            begin, within_s = _TROUBLES[trouble]
            results += fleet.send(_TASKS // len(rounds))
            fleet.wait_until_begun(len(results) - _TASKS // len(rounds) // 2)
            begin(proxy)
            time.sleep(chance.uniform(0.1, 3.0))
            proxy.pass_on()
            over = time.monotonic()
            results += fleet.send(1)
            probe = len(results) - 1
            fleet.audit.wait_until(lambda runs, probe=probe: probe in runs.started, "consuming again")
            took_s = time.monotonic() - over
            slowest[trouble] = max(slowest[trouble], took_s)
            assert took_s < within_s * _BUSY, f"{trouble}: consuming again after {took_s:.1f} s"
        fleet.assert_all_done(results)
        assert worker.stop() == 0
    fleet.assert_nothing_is_left()
    assert fleet.audit.read().repeated == set()
    again = ", ".join(f"{trouble} {took_s:.1f}" for trouble, took_s in slowest.items())
    figure(f"lost 0 of {len(results)}, ran twice 0; s until consuming again: {again} (seed {chance.number})")


#: Other tests share the machine.
_BUSY = 2.0
