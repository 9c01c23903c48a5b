"""Settling: each commit is applied whole or not at all, and only for who holds the lease."""

from __future__ import annotations

import time

import msgspec
import pytest

from celeriac.engines.base import Ack, Broker, Bury, Claim, Commit, Keep, Owner, Requeue, ResultStore
from celeriac.messages import encode
from conformance.engines import Engine, Other
from conformance.making import ME, YOU, Producer, claim, commit, ids, outgoing, queue_state, record, settle
from support.waiting import until


def test_an_acknowledged_message_is_gone(broker: Broker, producer: Producer) -> None:
    producer.send("a")
    (lease,) = claim(broker)
    assert settle(broker, lease, Ack())
    assert broker.held(ME) == []
    assert broker.queues() == []


def test_a_requeued_message_returns_to_the_head(broker: Broker, producer: Producer) -> None:
    producer.send("a", "b")
    (lease,) = claim(broker, limit=1)
    producer.send("c")
    assert settle(broker, lease, Requeue())
    assert ids(claim(broker)) == ["a", "b", "c"]


def test_messages_that_are_requeued_together_keep_their_order_and_priority(broker: Broker, producer: Producer) -> None:
    producer.send("a", "b", outgoing("c", priority=3), outgoing("d", priority=3))
    leases = claim(broker)
    producer.send("e")
    commits = [Commit(leases[number].token, Requeue()) for number in (2, 1, 3, 0)]
    assert all(broker.exchange(ME, commits).applied)
    assert ids(claim(broker)) == ["a", "b", "e", "c", "d"]


def test_an_uncounted_delivery_is_as_if_it_had_not_been(broker: Broker, producer: Producer) -> None:
    producer.send("a")
    for _ in range(3):
        (lease,) = claim(broker)
        assert lease.deliveries == 1
        assert settle(broker, lease, Requeue(counted=False))


def test_a_counted_delivery_counts(broker: Broker, producer: Producer) -> None:
    producer.send("a")
    seen = []
    for counted in (True, True, False, True, False):
        (lease,) = claim(broker)
        seen.append(lease.deliveries)
        assert settle(broker, lease, Requeue(counted=counted))
    assert seen == [1, 2, 3, 3, 4]


def test_a_message_requeued_with_a_delay_comes_back_after_it(broker: Broker, producer: Producer) -> None:
    producer.send("a", "b")
    (lease,) = claim(broker, limit=1)
    began = time.time()
    assert settle(broker, lease, Requeue(0.15, counted=True))
    again = until(lambda: next((back for back in claim(broker) if back.message.id == "a"), None), "the delay is over")
    assert time.time() - began >= 0.15
    assert again.deliveries == 2
    assert again.token != lease.token
    assert settle(broker, again, Requeue(60.0))
    assert claim(broker) == []
    assert queue_state(broker).delayed == 1


@pytest.mark.parametrize("how", [Requeue(), Requeue(0.01)])
def test_begun_survives_a_requeue(broker: Broker, producer: Producer, how: Requeue) -> None:
    producer.send("a")
    (lease,) = claim(broker)
    assert settle(broker, lease, Keep(begun=True))
    assert settle(broker, lease, how)
    (again,) = until(lambda: claim(broker), "the message is back")
    assert again.begun


def test_a_buried_message_is_kept_byte_for_byte(engine: Engine, broker: Broker) -> None:
    raw = encode(outgoing("a", body=b"\x00 any \xff"), {"timestamp": 1.5}) + b"\n "
    engine.put_raw("q", raw)
    (lease,) = claim(broker)
    before = time.time()
    assert settle(broker, lease, Bury("it was bad", "Traceback\n  ü"))
    (letter,) = broker.dead()
    assert letter.raw == raw
    assert (letter.queue, letter.task_id, letter.task) == ("q", "a", "conformance.job")
    assert (letter.reason, letter.detail, letter.deliveries) == ("it was bad", "Traceback\n  ü", 1)
    assert before - 1 <= letter.buried <= time.time() + 1
    assert broker.held(ME) == []
    state = queue_state(broker)
    assert (state.ready, state.leased, state.dead) == (0, 0, 1)


@pytest.mark.parametrize("text", ["", "half a character: \udcff", "a\x00b", "ü" * 100_000])
def test_any_text_is_a_reason(broker: Broker, producer: Producer, text: str) -> None:
    producer.send("a")
    (lease,) = claim(broker)
    assert settle(broker, lease, Bury(text, text))
    (letter,) = broker.dead()
    expected = text.replace("\udcff", "\\udcff")
    assert (letter.reason, letter.detail) == (expected, expected)


def test_keep_stores_a_document_and_keeps_the_lease(broker: Broker, producer: Producer, results: ResultStore) -> None:
    producer.send("a")
    (lease,) = claim(broker)
    for body in (b"1", b"2"):
        assert commit(broker, Commit(lease.token, Keep(), record("a", body, fence=lease.token)))
        assert results.get(["a"]) == {"a": body}
    assert broker.held(ME) == [lease]
    assert settle(broker, lease)


def test_begun_is_seen_by_its_owner(broker: Broker, producer: Producer) -> None:
    producer.send("a", "b")
    lease, other = claim(broker)
    assert settle(broker, lease, Keep(begun=True))
    assert settle(broker, lease, Keep(begun=True))
    assert broker.held(ME) == [msgspec.structs.replace(lease, begun=True), other]


@pytest.mark.usefixtures("served")
def test_a_commit_applies_messages_document_and_settling_together(
    broker: Broker, producer: Producer, results: ResultStore
) -> None:
    producer.send("a")
    (lease,) = claim(broker)
    follow = (outgoing("next"), outgoing("later", "two", due=time.time() + 60))
    assert commit(broker, Commit(lease.token, Ack(), record("a", b"done", fence=lease.token), follow))
    assert results.get(["a"]) == {"a": b"done"}
    assert broker.held(ME) == []
    assert ids(broker.peek("q")) == ["next"]
    assert queue_state(broker, "two").delayed == 1


def test_a_commit_that_cannot_be_written_applies_nothing(
    broker: Broker, producer: Producer, results: ResultStore
) -> None:
    producer.send("a")
    (lease,) = claim(broker)
    bad = msgspec.structs.replace(outgoing("bad"), message=outgoing("bad").message.with_headers(unwritable=object()))
    with pytest.raises(TypeError):
        commit(broker, Commit(lease.token, Ack(), record("a"), (outgoing("good"), bad)))
    assert broker.held(ME) == [lease]
    assert results.get(["a"]) == {}
    assert queue_state(broker).ready == 0


def test_commits_and_a_claim_go_in_one_exchange(broker: Broker, producer: Producer, results: ResultStore) -> None:
    producer.send("a", "b", "c")
    done, back = claim(broker, limit=2)
    exchange = broker.exchange(
        ME,
        [Commit(done.token, Ack(), record("a", b"1")), Commit(back.token, Requeue())],
        Claim(("q",), 10),
    )
    assert exchange.applied == (True, True)
    assert ids(exchange.leases) == ["b", "c"]
    assert ids(broker.held(ME)) == ["b", "c"]
    assert results.get(["a"]) == {"a": b"1"}


def test_what_a_commit_publishes_can_be_claimed_in_the_same_exchange(broker: Broker, producer: Producer) -> None:
    producer.send("a")
    (lease,) = claim(broker)
    exchange = broker.exchange(ME, [Commit(lease.token, Ack(), messages=(outgoing("next"),))], Claim(("q",), 1))
    assert ids(exchange.leases) == ["next"]


@pytest.mark.parametrize("settling", [Ack(), Requeue(), Requeue(5.0), Bury("no"), Keep(), Keep(begun=True)])
def test_a_commit_without_the_lease_applies_nothing_at_all(
    broker: Broker, producer: Producer, results: ResultStore, settling: Ack
) -> None:
    producer.send("theirs", "mine")
    (theirs,) = claim(broker, limit=1, owner=YOU)
    (mine,) = claim(broker, limit=1)
    unknown = mine.token + 1000
    foreign = [
        Commit(token, settling, record(f"r{token}", fence=token), (outgoing(f"m{token}"),))
        for token in (unknown, theirs.token, 0, -1)
    ]
    own = Commit(mine.token, Ack(), record("mine", b"1"), (outgoing("next"),))
    exchange = broker.exchange(ME, [*foreign[:2], own, *foreign[2:]])
    assert exchange.applied == (False, False, True, False, False)
    assert results.get([f"r{token}" for token in (unknown, theirs.token, 0, -1)]) == {}
    assert results.get(["mine"]) == {"mine": b"1"}
    assert ids(broker.peek("q")) == ["next"]
    assert broker.held(YOU) == [theirs]
    assert broker.dead() == []


def test_another_child_of_the_node_has_no_right_to_the_lease(broker: Broker, producer: Producer) -> None:
    producer.send("a")
    (lease,) = claim(broker)
    assert not settle(broker, lease, owner=Owner(ME.node, ME.child + 1))
    assert settle(broker, lease)


def test_a_repeated_commit_is_refused_and_changes_nothing(
    broker: Broker, producer: Producer, results: ResultStore
) -> None:
    producer.send("a")
    (lease,) = claim(broker)
    done = Commit(lease.token, Ack(), record("a", b"1", fence=lease.token), (outgoing("next"),))
    assert commit(broker, done)
    results.forget(["a"])
    assert not commit(broker, done)
    assert results.get(["a"]) == {}
    assert ids(broker.peek("q")) == ["next"]


def test_a_commit_twice_in_one_exchange_is_applied_once(broker: Broker, producer: Producer) -> None:
    producer.send("a")
    (lease,) = claim(broker)
    done = Commit(lease.token, Ack(), messages=(outgoing("next"),))
    assert broker.exchange(ME, [done, done]).applied == (True, False)
    assert ids(broker.peek("q")) == ["next"]


def test_progress_and_end_in_one_exchange_are_applied_in_order(
    broker: Broker, producer: Producer, results: ResultStore
) -> None:
    producer.send("a")
    (lease,) = claim(broker)
    commits = [
        Commit(lease.token, Keep(), record("a", b"started", fence=lease.token)),
        Commit(lease.token, Ack(), record("a", b"ended", fence=lease.token)),
        Commit(lease.token, Keep(), record("a", b"late", fence=lease.token)),
    ]
    assert broker.exchange(ME, commits).applied == (True, True, False)
    assert results.get(["a"]) == {"a": b"ended"}


def test_the_lease_that_a_requeue_ended_is_no_lease_any_more(broker: Broker, producer: Producer, other: Other) -> None:
    producer.send("a")
    (old,) = claim(broker)
    assert settle(broker, old, Requeue())
    (new,) = claim(other.broker, owner=YOU)
    assert not settle(broker, old)
    assert other.broker.held(YOU) == [new]


def test_a_thousand_commits_go_in_one_exchange(broker: Broker, producer: Producer, results: ResultStore) -> None:
    producer.send(*map(str, range(1000)))
    leases = claim(broker, limit=1000)
    assert len(leases) == 1000
    commits = [Commit(lease.token, Ack(), record(str(lease.message.id)), (outgoing("n", "next"),)) for lease in leases]
    assert all(broker.exchange(ME, commits).applied)
    assert len(results.get([str(number) for number in range(1000)])) == 1000
    assert queue_state(broker, "next").ready == 1000
    assert queue_state(broker).leased == 0
