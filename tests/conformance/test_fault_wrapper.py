"""The wrapper that injects faults: it does what its plan says, to every call, and nothing else."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac.engines import open_broker
from celeriac.engines.base import Broker, Claim, EngineOptions, Owner, Receipt, ResultStore, Revocation
from celeriac.exceptions import OperationalError
from celeriac.testing.faults import (
    ERROR,
    LOST,
    Fault,
    FaultyBroker,
    FaultyResults,
    Outage,
    RandomFaults,
    ScriptedFaults,
    delay,
)
from conformance.making import ME, Producer, ids, node, outgoing, record

NEVER_FAIL = {"describe", "shares_store_with", "result_store", "wake", "sizes", "close"}
#: Fail where the calls do that they are made of.
AS_OTHERS = {"publish_each", "follow"}
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "publish": ([outgoing("a")], Receipt("p", 1)),
    "exchange": (ME, []),
    "held": (ME,),
    "wait": (0.0,),
    "stand": (ME, Claim(("q",), 1), 0.0),
    "register": (node("n"),),
    "renew": ("n",),
    "unregister": ("n",),
    "holders": ("n",),
    "seize": (ME, Owner("n")),
    "recover": (Owner("n"),),
    "queues": (),
    "nodes": (),
    "peek": ("q",),
    "pause": ("q",),
    "resume": ("q",),
    "purge": ("q",),
    "dead": (),
    "find_dead": (1,),
    "exhume": (1, outgoing("a")),
    "drop_dead": ([1],),
    "trim_dead": (1.0, 1),
    "dead_trimmed": (),
    "check": (),
    "hand_back": (),
    "revoke": ([Revocation("a", 4e9)],),
    "unrevoke": (["a"],),
    "revocations": (),
    "revoked": ("n", 0),
    "search": (["a"],),
    "withdraw": ([],),
    "delayed": (),
    "hasten": ([],),
    "store": ([record("a")],),
    "get": (["a"],),
    "forget": (["a"],),
    "discard": ("a", b"b"),
    "watch": ("a", lambda: None),
}
KEYWORDS: dict[str, dict[str, Any]] = {"hand_back": {"dead": True}}


@pytest.fixture
def inner(tmp_path: Path) -> Iterator[Broker]:
    broker = open_broker(":memory:", EngineOptions(str(tmp_path)))
    yield broker
    broker.close()


def methods(contract: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(contract, inspect.isfunction) if not name.startswith("_")}


def call(target: object, operation: str) -> Any:
    answer = getattr(target, operation)(*ARGUMENTS[operation], **KEYWORDS.get(operation, {}))
    if operation == "watch":
        with answer:
            pass
    return list(answer) if operation == "search" else answer


class Always:
    """The same for every call, noting which were asked for."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.asked: list[str] = []

    def next(self, operation: str) -> Fault | None:
        self.asked.append(operation)
        return self.fault


@pytest.mark.parametrize("fault", [ERROR, LOST])
@pytest.mark.parametrize("operation", sorted(methods(Broker) - NEVER_FAIL - AS_OTHERS))
def test_every_call_of_a_broker_can_fail(inner: Broker, operation: str, fault: Fault) -> None:
    plan = Always(fault)
    broker = FaultyBroker(inner, plan)
    if (operation, fault) in (("hand_back", LOST), ("stand", LOST)):
        pytest.skip("a store in memory has no Celery to hand back to, and lets no claims stand")
    with pytest.raises(OperationalError, match=f"injected: .*{operation}"):
        call(broker, operation)
    assert plan.asked == [operation]
    assert broker.injected == {(operation, fault.kind): 1}


@pytest.mark.parametrize("fault", [ERROR, LOST])
@pytest.mark.parametrize("operation", sorted(methods(ResultStore) - NEVER_FAIL - AS_OTHERS))
def test_every_call_of_a_result_store_can_fail(inner: Broker, operation: str, fault: Fault) -> None:
    plan = Always(fault)
    results = FaultyResults(inner.result_store(), plan)
    with pytest.raises(OperationalError, match=f"injected: .*{operation}"):
        call(results, operation)
    assert plan.asked == [operation]
    assert results.injected == {(operation, fault.kind): 1}


def test_what_has_no_way_to_fail_does_not(inner: Broker) -> None:
    broker = FaultyBroker(inner, Always(ERROR))
    assert broker.describe() == ":memory:"
    assert broker.shares_store_with(broker.result_store())
    assert broker.shares_store_with(inner.result_store())
    broker.wake()
    assert broker.injected == {}


def test_an_error_has_done_nothing_and_a_lost_answer_everything(inner: Broker) -> None:
    with pytest.raises(OperationalError):
        Producer(FaultyBroker(inner, Always(ERROR))).send("a")
    assert inner.queues() == []
    with pytest.raises(OperationalError):
        Producer(FaultyBroker(inner, Always(LOST))).send("b")
    assert ids(inner.peek("q")) == ["b"]


def test_a_delay_takes_its_time_and_does_the_work(inner: Broker) -> None:
    slept: list[float] = []
    broker = FaultyBroker(inner, Always(delay(1.5)), sleep=slept.append)
    Producer(broker).send("a")
    assert slept == [1.5]
    assert ids(inner.peek("q")) == ["a"]
    assert broker.injected == {("publish", "delay"): 1}


def test_a_script_names_the_call(inner: Broker) -> None:
    broker = FaultyBroker(inner, ScriptedFaults([("queues", 2, ERROR), ("nodes", 1, LOST)]))
    assert broker.queues() == []
    with pytest.raises(OperationalError):
        broker.queues()
    assert broker.queues() == []
    with pytest.raises(OperationalError):
        broker.nodes()


def test_a_script_counts_the_broker_and_its_results_together(inner: Broker) -> None:
    broker = FaultyBroker(inner, ScriptedFaults([("get", 2, ERROR)]))
    assert broker.result_store().get(["a"]) == {}
    with pytest.raises(OperationalError):
        broker.result_store().get(["a"])


def test_a_seed_repeats_itself_however_calls_are_mixed() -> None:
    def faults(plan: RandomFaults, *operations: str) -> list[Fault | None]:
        return [plan.next(operation) for operation in operations]

    chances = {"error": 0.3, "lost": 0.3, "slow": 0.3}
    one, other = RandomFaults(7, **chances), RandomFaults(7, **chances)
    alone = faults(one, *["publish"] * 50)
    mixed = faults(other, *["publish", "exchange"] * 50)
    assert mixed[::2] == alone
    assert mixed[1::2] != alone
    assert {fault.kind if fault else None for fault in alone} == {"error", "lost", "delay", None}
    assert faults(RandomFaults(8, **chances), *["publish"] * 50) != alone


def test_random_faults_come_as_often_as_asked_for_and_where() -> None:
    plan = RandomFaults(1, error=0.2, lost=0.1, operations={"publish"})
    kinds = [fault.kind if fault else "none" for fault in (plan.next("publish") for _ in range(2000))]
    assert 300 < kinds.count("error") < 500
    assert 130 < kinds.count("lost") < 270
    assert not any(plan.next("exchange") for _ in range(100))


def test_an_outage_lasts_as_long_as_it_lasts(inner: Broker) -> None:
    outage = Outage(operations={"queues"})
    broker = FaultyBroker(inner, outage)
    assert broker.queues() == []
    with outage:
        for _ in range(3):
            with pytest.raises(OperationalError):
                broker.queues()
        assert broker.nodes() == []
    assert broker.queues() == []
