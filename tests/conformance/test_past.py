"""What is told of a message's earlier runs: kept beside it, handed on, and gone when it ends."""

from __future__ import annotations

import pytest

from celeriac import messages
from celeriac.engines.base import Ack, Broker, Bury, Keep, Lease, Owner, Requeue, Settle
from celeriac.past import NO_PAST, Loss, Past
from conformance.engines import Engine
from conformance.making import ME, YOU, Producer, claim, outgoing, settle

KEPT = Past(2).then("killed by “nobody” \udce9").then("again: 5% b\n  in f", loss=Loss("it ran too long", 5.0))
LATER = Past(3, ("a", "b"))
RAW = messages.encode(outgoing("a"))


def lend_with_past(broker: Broker, producer: Producer, past: Past = KEPT) -> Lease:
    """A message, lent for the second time."""
    producer.send("a")
    (lease,) = claim(broker)
    assert settle(broker, lease, Requeue(past=past))
    (lease,) = claim(broker)
    return lease


def test_a_message_has_no_past_at_first(broker: Broker, producer: Producer) -> None:
    producer.send("a")
    (lease,) = claim(broker)
    assert lease.past == NO_PAST


def test_the_next_owner_is_told_what_was_kept(broker: Broker, producer: Producer) -> None:
    lease = lend_with_past(broker, producer)
    assert (lease.past, lease.deliveries) == (KEPT, 1)
    assert [held.past for held in broker.held(ME)] == [KEPT]


@pytest.mark.parametrize("how", [Requeue(), Requeue(counted=True), Requeue(0.001)])
def test_it_stays_until_something_else_is_told(broker: Broker, producer: Producer, how: Requeue) -> None:
    assert settle(broker, lend_with_past(broker, producer), how)
    again: list[Lease] = []
    while not again:
        again = claim(broker)
    assert again[0].past == KEPT
    assert settle(broker, again[0], Requeue(past=LATER))
    (lease,) = claim(broker)
    assert lease.past == LATER


def test_it_goes_along_with_counts_and_marks(broker: Broker, producer: Producer) -> None:
    lease = lend_with_past(broker, producer)
    assert settle(broker, lease, Keep(begun=True))
    assert settle(broker, lease, Requeue(counted=True, past=LATER))
    (lease,) = claim(broker)
    assert (lease.deliveries, lease.begun, lease.past) == (2, True, LATER)
    assert settle(broker, lease, Requeue())
    (lease,) = claim(broker)
    assert (lease.deliveries, lease.begun, lease.past) == (2, True, LATER)


def test_who_takes_over_a_lease_is_told_it_too(broker: Broker, producer: Producer) -> None:
    lend_with_past(broker, producer)
    assert [lease.past for lease in broker.seize(ME, YOU)] == [KEPT]
    assert [lease.past for lease in broker.held(YOU)] == [KEPT]


def test_messages_beside_it_have_none(broker: Broker, producer: Producer) -> None:
    producer.send("a", "b")
    leases = {lease.message.id: lease for lease in claim(broker)}
    assert settle(broker, leases["a"], Requeue(past=KEPT))
    assert settle(broker, leases["b"], Requeue())
    assert {lease.message.id: lease.past for lease in claim(broker)} == {"a": KEPT, "b": NO_PAST}


@pytest.mark.parametrize("end", [Ack(), Bury("why")])
def test_it_ends_with_the_message(engine: Engine, broker: Broker, end: Settle) -> None:
    for past in (KEPT, None):  # the very same bytes come again
        engine.put_raw("q", RAW)
        (lease,) = claim(broker)
        assert lease.past == NO_PAST
        if past is not None:
            assert settle(broker, lease, Requeue(past=past))
            (lease,) = claim(broker)
            assert lease.past == past
            assert settle(broker, lease, end)


def test_it_ends_with_a_queue_that_is_purged(engine: Engine, broker: Broker) -> None:
    engine.put_raw("q", RAW)
    (lease,) = claim(broker)
    assert settle(broker, lease, Requeue(past=KEPT))
    assert broker.purge("q") == 1
    engine.put_raw("q", RAW)
    (lease,) = claim(broker)
    assert lease.past == NO_PAST


def test_a_stranger_changes_no_past(broker: Broker, producer: Producer) -> None:
    lease = lend_with_past(broker, producer)
    assert not settle(broker, lease, Requeue(past=LATER), owner=Owner("node-you", 2))
    assert [held.past for held in broker.held(ME)] == [KEPT]
