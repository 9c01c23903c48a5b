"""Publishing: order, places, and that a repeat adds nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from celeriac.engines.base import Broker, Receipt
from celeriac.messages import Message
from conformance.making import Producer, claim, ids, outgoing, queue_state, settle
from support.waiting import until


def test_what_is_published_is_claimed_as_it_was(broker: Broker, producer: Producer) -> None:
    headers = {"id": "i-1", "task": "a.b", "lang": "py", "retries": 2, "custom": {"deep": [1, None, "ü"]}}
    message = Message.from_headers(headers, b"\x00\xff any bytes", content_type="application/x-any", priority=4)
    producer.send(outgoing("first"))
    broker.publish([type(outgoing("x"))(message, "q")], producer.receipt())
    lease = claim(broker)[1]
    assert isinstance(lease.message, Message)
    assert (lease.queue, lease.deliveries, lease.begun, lease.previous) == ("q", 1, False, None)
    assert lease.message.headers == headers
    assert (lease.message.body, lease.message.content_type) == (message.body, message.content_type)
    assert (lease.message.priority, lease.message.retries) == (4, 2)


def test_first_in_is_first_out(broker: Broker, producer: Producer) -> None:
    producer.send("a", "b")
    producer.send("c")
    assert ids(claim(broker)) == ["a", "b", "c"]


def test_lower_priority_numbers_go_first_and_within_one_the_oldest(broker: Broker, producer: Producer) -> None:
    for name, priority in [("a9", 9), ("a3", 3), ("a0", 0), ("b3", 3), ("b9", 9), ("b0", 0)]:
        producer.send(outgoing(name, priority=priority))
    assert ids(claim(broker)) == ["a0", "b0", "a3", "b3", "a9", "b9"]


def test_nothing_is_published_by_an_empty_publish(broker: Broker) -> None:
    broker.publish([], Receipt("p", 1))
    assert broker.queues() == []


def test_a_publish_is_all_or_none(broker: Broker) -> None:
    bad = outgoing("bad").message.with_headers(unwritable=object())
    with pytest.raises(TypeError):
        broker.publish([outgoing("good"), type(outgoing("x"))(bad, "q")], Receipt("p", 1))
    assert broker.queues() == []
    broker.publish([outgoing("good")], Receipt("p", 1))  # the receipt was not used up
    assert ids(broker.peek("q")) == ["good"]


def test_batches_are_published_one_after_the_other(broker: Broker) -> None:
    batches = [([outgoing(f"{number}{letter}") for letter in "ab"], Receipt("p", number)) for number in range(1, 4)]
    assert len(list(broker.publish_each(batches))) == 3
    assert len(list(broker.publish_each(batches[1:]))) == 2  # repeated, they add nothing
    assert ids(broker.peek("q")) == ["1a", "1b", "2a", "2b", "3a", "3b"]


def test_after_a_batch_that_fails_none_is_published(broker: Broker) -> None:
    bad = outgoing("bad").message.with_headers(unwritable=object())
    batches = [
        ([outgoing("good")], Receipt("p", 1)),
        ([type(outgoing("x"))(bad, "q")], Receipt("p", 2)),
        ([outgoing("late")], Receipt("p", 3)),
    ]
    with pytest.raises(TypeError):
        list(broker.publish_each(batches))
    assert set(ids(broker.peek("q"))) <= {"good"}  # which may be under way when the next cannot be written
    broker.publish([outgoing("good")], Receipt("p", 1))
    assert ids(broker.peek("q")) == ["good"]


@pytest.mark.usefixtures("served")
def test_repeating_a_publish_adds_nothing(broker: Broker) -> None:
    for _ in range(3):
        broker.publish([outgoing("a"), outgoing("b", due=time.time() + 60)], Receipt("p", 1))
    state = queue_state(broker)
    assert (state.ready, state.delayed) == (1, 1)


def test_repeating_an_older_publish_adds_nothing(broker: Broker) -> None:
    broker.publish([outgoing("a")], Receipt("p", 1))
    broker.publish([outgoing("b")], Receipt("p", 2))
    broker.publish([outgoing("a")], Receipt("p", 1))
    assert ids(broker.peek("q")) == ["a", "b"]


def test_repeating_a_publish_adds_nothing_after_the_message_was_done_with(broker: Broker) -> None:
    broker.publish([outgoing("a")], Receipt("p", 1))
    (lease,) = claim(broker)
    assert settle(broker, lease)
    broker.publish([outgoing("a")], Receipt("p", 1))
    assert broker.queues() == []


def test_repeating_a_publish_through_another_broker_adds_nothing(broker: Broker, connect: Callable[[], Broker]) -> None:
    broker.publish([outgoing("a")], Receipt("p", 1))
    connect().publish([outgoing("a")], Receipt("p", 1))
    assert ids(broker.peek("q")) == ["a"]


def test_the_next_number_of_a_producer_passes(broker: Broker) -> None:
    broker.publish([outgoing("a")], Receipt("p", 1))
    broker.publish([outgoing("b")], Receipt("p", 7))
    assert ids(broker.peek("q")) == ["a", "b"]


def test_the_same_number_of_another_producer_passes(broker: Broker) -> None:
    broker.publish([outgoing("a")], Receipt("p", 1))
    broker.publish([outgoing("b")], Receipt("other", 1))
    assert ids(broker.peek("q")) == ["a", "b"]


def test_the_same_task_id_under_a_new_receipt_passes(broker: Broker, producer: Producer) -> None:
    producer.send("a")
    producer.send("a")
    assert ids(claim(broker)) == ["a", "a"]


@pytest.mark.usefixtures("served")
def test_a_delayed_message_is_not_claimed_before_its_time(broker: Broker, producer: Producer) -> None:
    due = time.time() + 0.1
    producer.send(outgoing("later", due=due), outgoing("much later", due=due + 60))
    (lease,) = until(lambda: claim(broker), "the delayed message is due")
    assert time.time() >= due
    assert lease.message.id == "later"
    assert lease.deliveries == 1


def test_a_message_due_in_the_past_is_ready_at_once(broker: Broker, producer: Producer) -> None:
    producer.send(outgoing("a", due=time.time() - 5))
    assert queue_state(broker).ready == 1


@pytest.mark.usefixtures("served")
def test_a_message_that_is_due_goes_before_what_came_after_it(broker: Broker, producer: Producer) -> None:
    producer.send(outgoing("later", due=time.time() + 0.05))
    assert queue_state(broker).ready == 0
    producer.send("a", "b")
    until(lambda: _ready_after_look(broker) == 3, "the delayed message is due")
    assert ids(broker.peek("q")) == ["later", "a", "b"]
    assert ids(claim(broker)) == ["later", "a", "b"]


@pytest.mark.usefixtures("served")
def test_a_delayed_message_keeps_its_priority(broker: Broker, producer: Producer) -> None:
    producer.send(outgoing("urgent", priority=0, due=time.time() + 0.05), outgoing("idle", priority=9))
    until(lambda: _ready_after_look(broker) == 2, "the delayed message is due")
    assert ids(claim(broker)) == ["urgent", "idle"]


def _ready_after_look(broker: Broker) -> int:
    claim(broker, "elsewhere")
    return queue_state(broker).ready


@pytest.mark.usefixtures("served")
def test_delayed_messages_come_in_the_order_of_their_times(broker: Broker, producer: Producer) -> None:
    now = time.time()
    producer.send(*(outgoing(f"in {wait} s", due=now + wait) for wait in (60, 0.05, 30)))
    assert ids(until(lambda: claim(broker), "the first is due")) == ["in 0.05 s"]
    assert claim(broker) == []


@pytest.mark.usefixtures("served")
def test_any_number_of_messages_may_become_due_at_once(broker: Broker, producer: Producer) -> None:
    due = time.time() + 0.05
    producer.send(*(outgoing(str(number), due=due) for number in range(1200)))
    found: list[str | None] = []
    until(lambda: found.extend(ids(claim(broker, limit=400))) or len(found) == 1200, "all are due")
    assert len(set(found)) == 1200


def test_ten_thousand_messages_go_in_one_publish(broker: Broker, producer: Producer) -> None:
    producer.send(*(outgoing(str(number)) for number in range(10_000)))
    assert queue_state(broker).ready == 10_000
    assert ids(claim(broker, limit=3)) == ["0", "1", "2"]


def test_a_message_of_eight_megabytes_passes(broker: Broker, producer: Producer) -> None:
    body = bytes(range(256)) * (8 * 2**20 // 256)
    producer.send(outgoing("big", body=body), "small")
    taken = claim(broker) + claim(broker)
    assert ids(taken) == ["big", "small"]
    assert isinstance(taken[0].message, Message)
    assert taken[0].message.body == body
