"""Claiming: limits, several queues, pauses, and who holds what."""

from __future__ import annotations

import itertools
import json
import threading
import time

import pytest

from celeriac.engines.base import Broker, Bury, Claim, Commit, Keep, Lease, Owner, Requeue
from celeriac.messages import Malformed
from conformance.engines import Engine, Other
from conformance.making import ME, YOU, Producer, claim, ids, node, outgoing, queue_state, settle


def test_a_claim_without_messages_returns_none_at_once(broker: Broker) -> None:
    assert broker.exchange(ME, [], Claim(("q",), 10)).leases == ()


def test_an_exchange_without_a_claim_takes_nothing(broker: Broker, producer: Producer) -> None:
    producer.send("a")
    assert broker.exchange(ME, []).leases == ()
    assert queue_state(broker).ready == 1


def test_a_claim_takes_no_more_than_its_limit(broker: Broker, producer: Producer) -> None:
    producer.send("a", "b", "c")
    assert ids(claim(broker, limit=2)) == ["a", "b"]
    assert ids(claim(broker, limit=2)) == ["c"]


def test_what_is_leased_is_not_claimed_again(broker: Broker, producer: Producer, other: Other) -> None:
    producer.send("a")
    assert len(claim(broker)) == 1
    assert claim(other.broker, owner=YOU) == []
    assert claim(broker) == []


def test_several_queues_are_served_each_oldest_first(broker: Broker, producer: Producer) -> None:
    for name, queue in [("a", "one"), ("b", "two"), ("c", "one"), ("d", "three"), ("e", "two")]:
        producer.send(outgoing(name, queue))
    leases = claim(broker, "three", "two", "one", limit=4) + claim(broker, "three", "two", "one", limit=4)
    for queue, expected in [("one", ["a", "c"]), ("two", ["b", "e"]), ("three", ["d"])]:
        assert ids(lease for lease in leases if lease.queue == queue) == expected


def test_a_busy_queue_starves_no_other(broker: Broker, producer: Producer) -> None:
    producer.send(outgoing("rare", "one"))
    seen: list[str | None] = []
    for _ in range(4):
        producer.send(*(outgoing("common", "two") for _ in range(3)))
        seen += ids(claim(broker, "two", "one", limit=1))
    assert "rare" in seen


def test_priority_goes_before_age_also_between_queues(broker: Broker, producer: Producer) -> None:
    producer.send(outgoing("old", "one", priority=5), outgoing("young", "two", priority=1))
    assert ids(claim(broker, "one", "two")) == ["young", "old"]


def test_a_claim_takes_only_from_the_queues_it_names(broker: Broker, producer: Producer) -> None:
    producer.send(outgoing("a", "one"), outgoing("b", "other"), outgoing("c", "one "), outgoing("d", "ONE"))
    assert ids(claim(broker, "one")) == ["a"]
    assert ids(claim(broker, "other")) == ["b"]


@pytest.mark.parametrize("queue", ["with space", "ünï", "a:b{c}", "*", "%s", "'; --", "x" * 200])
def test_any_text_names_a_queue(broker: Broker, producer: Producer, queue: str) -> None:
    producer.send(outgoing("a", queue))
    assert queue_state(broker, queue).ready == 1
    assert ids(claim(broker, queue)) == ["a"]


def test_tokens_are_never_used_again(broker: Broker, producer: Producer, other: Other) -> None:
    tokens = []
    for number in range(6):
        producer.send(str(number))
        who, owner = (broker, ME) if number % 2 else (other.broker, YOU)
        (lease,) = claim(who, owner=owner)
        tokens.append(lease.token)
        assert settle(who, lease, owner=owner)
    assert len(set(tokens)) == 6
    assert tokens == sorted(tokens)


@pytest.mark.usefixtures("served")
def test_a_claim_tells_when_the_next_delayed_message_of_its_queues_is_due(broker: Broker, producer: Producer) -> None:
    now = time.time()
    producer.send(outgoing("late", due=now + 90), outgoing("soon", due=now + 30), outgoing("other", "z", due=now + 5))
    broker.register(node(ME.node))
    next_due_s = broker.exchange(ME, [], Claim(("q",), 1)).next_due_s
    assert next_due_s is not None
    assert 20 < next_due_s <= 30


def test_a_claim_tells_nothing_where_nothing_is_delayed(broker: Broker, producer: Producer) -> None:
    broker.register(node(ME.node))
    producer.send("a")
    assert broker.exchange(ME, [], Claim(("q",), 1)).next_due_s is None


def test_held_lists_exactly_what_the_owner_has(broker: Broker, producer: Producer) -> None:
    producer.send("a", "b", "c", "d")
    mine, done = claim(broker, limit=2)
    (sibling,) = claim(broker, limit=1, owner=Owner(ME.node, 2))
    (yours,) = claim(broker, limit=1, owner=YOU)
    assert settle(broker, done)
    assert broker.held(ME) == [mine]
    assert broker.held(Owner(ME.node, 2)) == [sibling]
    assert broker.held(YOU) == [yours]
    assert broker.held(Owner("nobody")) == []


def test_no_claim_takes_from_a_paused_queue(broker: Broker, producer: Producer, other: Other) -> None:
    producer.send("a", outgoing("b", "two"))
    broker.pause("q")
    assert claim(other.broker, owner=YOU) == []
    assert ids(claim(broker, "q", "two")) == ["b"]


def test_a_paused_queue_takes_messages_and_settles_what_runs(broker: Broker, producer: Producer) -> None:
    producer.send("a")
    (lease,) = claim(broker)
    broker.pause("q")
    broker.pause("q")
    producer.send("b")
    assert settle(broker, lease)
    state = queue_state(broker)
    assert (state.ready, state.leased, state.paused) == (1, 0, True)


def test_a_resumed_queue_is_served_again(broker: Broker, producer: Producer) -> None:
    producer.send("a")
    broker.pause("q")
    broker.resume("q")
    broker.resume("q")
    assert ids(claim(broker)) == ["a"]
    assert not queue_state(broker).paused


_HEADERS = {"id": "i-1", "task": "a.b", "lang": "py"}


def _envelope(**changes: object) -> bytes:
    """Celery's envelope with some parts of it wrong."""
    good = {"body": "W1tdLHt9LHt9XQ==", "headers": _HEADERS, "properties": {"body_encoding": "base64"}}
    return json.dumps({**good, "content-type": "application/json", "content-encoding": "utf-8", **changes}).encode()


@pytest.mark.parametrize(
    ("raw", "task_id", "task"),
    [
        (b"\xff\xfe not JSON", None, None),
        (b"[]", None, None),
        (b'{"headers": {"id": "i-1", "task": "a.b"}, "properties": {}}', "i-1", "a.b"),
        (b"", None, None),
        (b"[" * 100_000, None, None),
        (b'{"a":' * 100_000, None, None),
        (_envelope(body="%%%"), "i-1", "a.b"),
        (_envelope(body=None), "i-1", "a.b"),
        (_envelope(body=7), "i-1", "a.b"),
        (_envelope(properties={"body_encoding": "rot13"}), "i-1", "a.b"),
        (_envelope(properties=[]), "i-1", "a.b"),
        (_envelope(properties={"body_encoding": "base64", "priority": "high"}), "i-1", "a.b"),
        (_envelope(headers=[]), None, None),
        (_envelope(headers="id"), None, None),
        (_envelope(**{"content-type": 7}), "i-1", "a.b"),
        (_envelope(**{"content-encoding": {}}), "i-1", "a.b"),
        *((_envelope(headers={**_HEADERS, name: [7]}), "i-1", "a.b") for name in ("retries", "eta", "expires")),
        (_envelope(headers={**_HEADERS, "eta": "tomorrow"}), "i-1", "a.b"),
        (_envelope(headers={**_HEADERS, "id": 7}), None, "a.b"),
        (_envelope(headers={**_HEADERS, "task": {}}), "i-1", None),
    ],
    ids=itertools.count(),
)
def test_what_cannot_be_read_is_leased_as_it_is_and_can_be_buried(
    engine: Engine, broker: Broker, raw: bytes, task_id: str | None, task: str | None
) -> None:
    engine.put_raw("q", raw)
    (lease,) = claim(broker)
    assert isinstance(lease.message, Malformed)
    assert lease.message.raw == raw
    assert (lease.message.id, lease.message.task) == (task_id, task)
    assert lease.message.reason
    assert settle(broker, lease, Bury(lease.message.reason))
    (letter,) = broker.dead()
    assert (letter.raw, letter.task_id, letter.task) == (raw, task_id, task)
    assert letter.reason == lease.message.reason


def test_large_messages_are_claimed_a_few_at_a_time(broker: Broker, producer: Producer) -> None:
    body = bytes(4_000_000)
    producer.send("small", *(outgoing(f"large-{number}", body=body) for number in range(4)))
    batches = []
    while leases := claim(broker):
        batches.append(ids(leases))
        assert all(settle(broker, lease) for lease in leases)
    assert len(batches) > 2
    assert [name for batch in batches for name in batch] == ["small", *(f"large-{number}" for number in range(4))]


def test_what_cannot_be_read_keeps_nothing_behind_it_from_being_claimed(
    engine: Engine, broker: Broker, producer: Producer
) -> None:
    engine.put_raw("q", b"garbage")
    producer.send("a")
    assert ids(claim(broker)) == [None, "a"]


def test_a_message_that_was_in_a_crash_is_claimed_alone(broker: Broker, producer: Producer) -> None:
    producer.send("a", "suspect", "b", "c")
    leases = claim(broker, limit=2)
    back = [Commit(leases[0].token, Requeue()), Commit(leases[1].token, Requeue(counted=True))]
    assert all(broker.exchange(ME, back).applied)
    assert [ids(claim(broker)) for _ in range(4)] == [["a"], ["suspect"], ["b", "c"], []]


def test_many_threads_share_one_broker_and_no_message_is_leased_twice(broker: Broker, producer: Producer) -> None:
    producer.send(*map(str, range(200)))
    taken: list[list[Lease]] = [[] for _ in range(6)]
    errors: list[BaseException] = []

    def work(number: int) -> None:
        owner = Owner("threads", number)
        try:
            while leases := broker.exchange(owner, [], Claim(("q",), 3)).leases:
                taken[number] += leases
                for lease in leases:
                    assert settle(broker, lease, owner=owner)
        except BaseException as error:
            errors.append(error)

    broker.register(node("threads"))
    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert sorted(int(lease.message.id or "") for leases in taken for lease in leases) == list(range(200))
    assert broker.queues() == []


def test_keep_is_no_claim(broker: Broker, producer: Producer) -> None:
    producer.send("a", "b")
    (lease,) = claim(broker, limit=1)
    assert settle(broker, lease, Keep())
    assert ids(broker.held(ME)) == ["a"]
    assert queue_state(broker).ready == 1
