"""Single messages that wait: found, taken out with their documents, listed, hastened."""

from __future__ import annotations

import time

import pytest
from msgspec.structs import replace

from celeriac.engines.base import Broker, Requeue, ResultStore, Waiting
from celeriac.messages import Outgoing
from conformance.engines import Engine, Other
from conformance.making import ME, Producer, claim, ids, outgoing, queue_state, record, settle
from support.waiting import until

pytestmark = pytest.mark.usefixtures("served")

HOUR_S = 3600.0


def later(task_id: str, queue: str = "q", in_s: float = HOUR_S, priority: int = 0) -> Outgoing:
    return outgoing(task_id, queue, due=time.time() + in_s, priority=priority)


def search(broker: Broker, *task_ids: str) -> list[Waiting]:
    return [found for piece in broker.search(task_ids) for found in piece]


def test_what_waits_is_found_in_every_queue_and_at_every_priority(broker: Broker, producer: Producer) -> None:
    producer.send("a", later("b"), outgoing("c", "two", priority=9), later("d", "two", priority=5), "e")
    found = search(broker, "a", "b", "c", "d", "unknown")
    assert {(one.message.id, one.queue, one.due is not None) for one in found} == {
        ("a", "q", False),
        ("b", "q", True),
        ("c", "two", False),
        ("d", "two", True),
    }
    assert len(found) == 4
    (delayed,) = search(broker, "b")
    assert delayed.due is not None
    assert abs(delayed.due - time.time() - HOUR_S) < 60


def test_a_few_among_thousands_are_found(broker: Broker, producer: Producer) -> None:
    producer.send(*(f"task-{number}-" for number in range(5000)))
    producer.send(*(later(f"late-{number}-") for number in range(3000)))
    wanted = ["task-0-", "task-2500-", "task-4999-", "late-0-", "late-2999-"]
    assert sorted(one.message.id or "" for one in search(broker, *wanted)) == sorted(wanted)
    many = [f"task-{number}-" for number in range(0, 5000, 50)]
    assert sorted(one.message.id or "" for one in search(broker, *many)) == sorted(many)


def test_what_is_leased_does_not_wait(broker: Broker, producer: Producer) -> None:
    producer.send("a")
    claim(broker)
    assert search(broker, "a") == []


def test_what_is_withdrawn_is_gone_and_its_document_stored(
    broker: Broker, results: ResultStore, producer: Producer
) -> None:
    broker.shares_store_with(results)
    producer.send("a", later("b"), "c")
    pairs = [(one, record(one.message.id or "", b"revoked")) for one in search(broker, "a", "b")]
    assert broker.withdraw(pairs) == [True, True]
    assert results.get(["a", "b", "c"]) == {"a": b"revoked", "b": b"revoked"}
    state = queue_state(broker)
    assert (state.ready, state.delayed) == (1, 0)
    assert ids(claim(broker)) == ["c"]


def test_withdrawing_wakes_who_waits_for_the_result(
    broker: Broker, results: ResultStore, producer: Producer, other: Other
) -> None:
    producer.send("a")
    rung: list[int] = []
    with results.watch("a", lambda: rung.append(1)):
        (found,) = search(broker, "a")
        assert other.broker.withdraw([(found, record("a", b"revoked"))]) == [True]
        until(lambda: rung, "the waiter is rung")


def test_what_was_claimed_meanwhile_is_not_withdrawn_and_stores_nothing(
    broker: Broker, results: ResultStore, producer: Producer
) -> None:
    broker.shares_store_with(results)
    producer.send("a")
    (found,) = search(broker, "a")
    (lease,) = claim(broker)
    assert broker.withdraw([(found, record("a", b"revoked"))]) == [False]
    assert results.get(["a"]) == {}
    assert settle(broker, lease)
    assert broker.withdraw([(found, None)]) == [False]


def test_another_message_at_the_same_place_is_not_withdrawn(broker: Broker, producer: Producer) -> None:
    producer.send("a")
    (found,) = search(broker, "a")
    (lease,) = claim(broker)
    assert settle(broker, lease)
    producer.send("b")  # the store may have used its number again
    assert broker.withdraw([(found, None)]) == [False]
    assert ids(claim(broker)) == ["b"]


def test_what_has_become_due_meanwhile_is_withdrawn_all_the_same(broker: Broker, producer: Producer) -> None:
    producer.send(later("a", in_s=0.05), later("b", in_s=0.05))
    (found,) = search(broker, "a")

    def due() -> list[str | None]:
        return ids(claim(broker, limit=1))

    assert until(due, "something is due") in (["a"], ["b"])
    left = search(broker, "a")
    assert broker.withdraw([(found, None)]) == [bool(left)]
    assert search(broker, "a") == []


def test_a_retry_that_waits_is_withdrawn(broker: Broker, producer: Producer) -> None:
    producer.send("a")
    (lease,) = claim(broker)
    assert settle(broker, lease, Requeue(HOUR_S, counted=True))
    (found,) = search(broker, "a")
    assert broker.withdraw([(found, None)]) == [True]
    assert queue_state(broker).delayed == 0


def test_the_delayed_are_listed_the_soonest_first(broker: Broker, producer: Producer, other: Other) -> None:
    producer.send(later("c", in_s=300), later("a", in_s=100), later("b", "two", in_s=200), "ready")
    assert ids(other.broker.delayed()) == ["a", "b", "c"]
    assert ids(broker.delayed("q")) == ["a", "c"]
    assert ids(broker.delayed(None, 2)) == ["a", "b"]
    assert broker.delayed("none") == []


def test_what_is_hastened_is_ready_at_once_and_as_it_was_given(broker: Broker, producer: Producer) -> None:
    producer.send(later("a"), later("b"))
    a, b = broker.delayed()
    assert broker.hasten([(a, outgoing("a", body=b"[[1],{},{}]"))]) == [True]
    (lease,) = claim(broker)
    assert (lease.message.id, lease.message.body) == ("a", b"[[1],{},{}]")
    assert ids(broker.delayed()) == ["b"]
    assert broker.hasten([(a, outgoing("a")), (b, outgoing("b"))]) == [False, True]


def test_what_is_hastened_goes_before_what_came_after_it(broker: Broker, producer: Producer) -> None:
    producer.send(later("a"), later("b"))
    producer.send("c")
    assert broker.hasten([(one, outgoing(one.message.id or "")) for one in broker.delayed()]) == [True, True]
    assert ids(claim(broker)) == ["a", "b", "c"]


def test_hastening_wakes_a_parked_worker(broker: Broker, producer: Producer, other: Other) -> None:
    producer.send(later("a"))
    assert claim(broker, park=True) == []
    (found,) = other.broker.delayed()
    other.broker.hasten([(found, outgoing("a"))])
    broker.wait(30.0)
    assert ids(claim(broker)) == ["a"]


def test_what_is_hastened_keeps_how_often_it_was_in_a_crash(broker: Broker, producer: Producer) -> None:
    producer.send("a")
    (lease,) = claim(broker)
    assert settle(broker, lease, Requeue(HOUR_S, counted=True))
    (found,) = broker.delayed()
    assert broker.hasten([(found, outgoing("a"))]) == [True]
    (again,) = claim(broker)
    assert again.deliveries == 2


def test_a_waiting_message_can_be_taken_from_one_store_only(broker: Broker, producer: Producer, engine: Engine) -> None:
    producer.send("a")
    (found,) = search(broker, "a")
    stranger = replace(found, raw=found.raw + b" ")
    assert broker.withdraw([(stranger, None)]) == [False]
    assert ids(claim(broker, owner=ME)) == ["a"]
