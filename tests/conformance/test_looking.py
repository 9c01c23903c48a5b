"""Looking into queues, and emptying them."""

from __future__ import annotations

import time

import pytest

from celeriac.engines.base import Broker, Bury, QueueState
from celeriac.messages import Malformed
from conformance.engines import Engine, Other
from conformance.making import Producer, claim, ids, names, outgoing, queue_state, settle


@pytest.mark.usefixtures("served")
def test_queues_tells_what_lies_where(broker: Broker, producer: Producer, other: Other) -> None:
    before = time.time()
    producer.send("run", "bad", "a", "b", outgoing("later", due=time.time() + 60))
    _, bad = claim(broker, limit=2)
    assert settle(broker, bad, Bury("bad"))
    producer.send(outgoing("z", "two"))
    other.broker.pause("empty")
    first, second, third = other.broker.queues()
    assert (first, third.name) == (QueueState("empty", 0, 0, 0, 0, None, True), "two")
    assert (second.name, second.ready, second.leased, second.delayed, second.dead) == ("q", 2, 1, 1, 1)
    assert second.oldest is not None
    assert before - 1 <= second.oldest <= time.time() + 1


def test_the_oldest_is_told_of_what_is_ready(broker: Broker, producer: Producer) -> None:
    producer.send("a")
    first = queue_state(broker).oldest
    producer.send("b")
    assert queue_state(broker).oldest == first
    claim(broker, limit=1)
    second = queue_state(broker).oldest
    assert first is not None
    assert second is not None
    assert second > first
    claim(broker)
    assert queue_state(broker).oldest is None


def test_a_queue_that_holds_nothing_is_not_listed(broker: Broker, producer: Producer) -> None:
    assert broker.queues() == []
    producer.send("a")
    assert names(broker.queues()) == ["q"]
    (lease,) = claim(broker)
    assert names(broker.queues()) == ["q"]
    assert settle(broker, lease)
    assert broker.queues() == []


@pytest.mark.usefixtures("served")
def test_peek_shows_the_next_and_leaves_them(broker: Broker, producer: Producer, other: Other) -> None:
    producer.send(outgoing("idle", priority=9), "a", "b", outgoing("later", due=time.time() + 60))
    assert ids(other.broker.peek("q", 2)) == ["a", "b"]
    assert ids(other.broker.peek("q")) == ["a", "b", "idle"]
    assert ids(claim(broker)) == ["a", "b", "idle"]
    assert broker.peek("q") == []


def test_peek_shows_ten_unless_told_otherwise(broker: Broker, producer: Producer) -> None:
    producer.send(*map(str, range(15)))
    assert len(broker.peek("q")) == 10


def test_peek_shows_what_cannot_be_read(engine: Engine, broker: Broker) -> None:
    engine.put_raw("q", b"garbage")
    (found,) = broker.peek("q")
    assert isinstance(found, Malformed)
    assert found.raw == b"garbage"


@pytest.mark.usefixtures("served")
def test_purge_deletes_what_waits_and_nothing_else(broker: Broker, producer: Producer) -> None:
    producer.send("run", "bad", "a", "b", outgoing("later", due=time.time() + 60), outgoing("z", "two"))
    run, bad = claim(broker, limit=2)
    assert settle(broker, bad, Bury("bad"))
    assert broker.purge("q") == 3
    assert broker.purge("q") == 0
    state = queue_state(broker)
    assert (state.ready, state.leased, state.delayed, state.dead) == (0, 1, 0, 1)
    assert queue_state(broker, "two").ready == 1
    assert settle(broker, run)


def test_purging_a_queue_that_is_not_there_deletes_nothing(broker: Broker) -> None:
    assert broker.purge("nowhere") == 0


def test_a_broker_describes_itself(broker: Broker, engine: Engine) -> None:
    assert isinstance(broker.describe(), str)
    assert broker.describe()
