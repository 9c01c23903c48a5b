"""What must not run: marks that outlive their maker, and who is told of them."""

from __future__ import annotations

import time

from celeriac.engines.base import Broker, Requeue, Revocation
from conformance.engines import Engine, Other
from conformance.making import ME, YOU, Producer, claim, ids, outgoing, settle
from support.waiting import until


def revoke(broker: Broker, *task_ids: str, signal: str | None = None, for_s: float = 600.0) -> int:
    return broker.revoke([Revocation(task_id, time.time() + for_s, signal) for task_id in task_ids])


def told(broker: Broker, limit: int = 100) -> dict[str | None, bool]:
    return {lease.message.id: lease.revoked for lease in claim(broker, limit=limit)}


def test_who_claims_a_revoked_message_is_told(broker: Broker, producer: Producer, other: Other) -> None:
    producer.send("a", "b", "c")
    revoke(other.broker, "b")
    assert told(broker) == {"a": False, "b": True, "c": False}


def test_a_message_may_come_after_its_revocation(broker: Broker, producer: Producer) -> None:
    revoke(broker, "a")
    producer.send("a")
    assert told(broker) == {"a": True}


def test_a_message_that_was_given_back_is_found_revoked_at_its_next_claim(broker: Broker, producer: Producer) -> None:
    producer.send("a")
    (lease,) = claim(broker)
    revoke(broker, "a")
    assert settle(broker, lease, Requeue(counted=True))
    assert told(broker) == {"a": True}


def test_an_id_with_escapes_is_revoked_like_any_other(broker: Broker, producer: Producer, engine: Engine) -> None:
    producer.send("größe 1", "back\\slash")
    engine.put_raw(
        "q",
        b'{"body": "W1tdLHt9LHt9XQ==", "content-type": "application/json", "content-encoding": "utf-8", "headers": '
        b'{"id": "gr\\u00f6\\u00dfe 2", "task": "job"}, "properties": {"body_encoding": "base64"}}',
    )
    revoke(broker, "größe 1", "größe 2", "back\\slash")
    assert told(broker) == {"größe 1": True, "größe 2": True, "back\\slash": True}


def test_a_message_that_only_mentions_a_revoked_id_is_not_revoked(broker: Broker, engine: Engine) -> None:
    engine.put_raw(
        "q",
        b'{"body": "W1tdLHt9LHt9XQ==", "content-type": "application/json", "content-encoding": "utf-8", "headers": '
        b'{"argsrepr": "(\\"id\\": \\"a\\")", "root_id": "a", "parent_id": "a", "id": "child", "task": "job"}, '
        b'"properties": {"correlation_id": "a", "body_encoding": "base64"}}',
    )
    revoke(broker, "a")
    assert [found for piece in broker.search(["a"]) for found in piece] == []
    assert told(broker) == {"child": False}


def test_a_revocation_is_forgotten_at_its_time(broker: Broker, producer: Producer) -> None:
    revoke(broker, "a", for_s=0.05)
    revoke(broker, "b")
    assert until(lambda: [one.task_id for one in broker.revocations()] == ["b"], "the revocation is forgotten")
    producer.send("a", "b")
    assert told(broker) == {"a": False, "b": True}


def test_a_revocation_can_be_taken_back(broker: Broker, producer: Producer, other: Other) -> None:
    revoke(broker, "a", "b")
    assert other.broker.unrevoke(["a", "unknown"]) == 1
    assert [one.task_id for one in broker.revocations()] == ["b"]
    producer.send("a", "b")
    assert told(broker) == {"a": False, "b": True}


def test_revocations_are_listed_the_first_to_expire_first(broker: Broker) -> None:
    revoke(broker, "late", for_s=900)
    revoke(broker, "soon", signal="SIGTERM", for_s=300)
    listed = broker.revocations()
    assert [(one.task_id, one.signal) for one in listed] == [("soon", "SIGTERM"), ("late", None)]
    assert abs(listed[0].expires - time.time() - 300) < 60
    assert broker.revocations(1) == listed[:1]


def test_revoking_again_neither_shortens_it_nor_takes_the_signal_back(broker: Broker) -> None:
    revoke(broker, "a", signal="SIGUSR1", for_s=900)
    (before,) = broker.revocations()
    revoke(broker, "a", for_s=300)
    assert broker.revocations() == [before]


def test_every_revocation_has_a_newer_fence_than_what_ran_before(broker: Broker, producer: Producer) -> None:
    producer.send("a", "b")
    (first,) = claim(broker, limit=1)
    fence = revoke(broker, "a")
    (second,) = claim(broker, limit=1)
    assert first.token < fence < second.token


def test_a_node_learns_which_of_its_leases_were_revoked(broker: Broker, producer: Producer, other: Other) -> None:
    producer.send("a", "b", "c")
    a, b, _c = claim(broker)
    revoke(other.broker, "a")
    revoke(other.broker, "b", signal="SIGTERM")
    revoked = broker.revoked(ME.node, since=0)
    assert sorted((one.token, one.child, one.queue, one.message.id, one.signal or "") for one in revoked.leases) == [
        (a.token, ME.child, "q", "a", ""),
        (b.token, ME.child, "q", "b", "SIGTERM"),
    ]
    assert broker.revoked(YOU.node, since=0).leases == ()


def test_a_node_that_has_seen_the_newest_revocation_is_told_nothing(broker: Broker, producer: Producer) -> None:
    producer.send("a", "b")
    claim(broker)
    revoke(broker, "a")
    seen = broker.revoked(ME.node, since=0)
    assert ids(seen.leases) == ["a"]
    assert broker.revoked(ME.node, since=seen.version) == type(seen)(seen.version)
    revoke(broker, "b")
    again = broker.revoked(ME.node, since=seen.version)
    assert again.version != seen.version
    assert {one.message.id for one in again.leases} == {"a", "b"}


def test_a_message_of_another_task_with_the_same_beginning_is_not_revoked(broker: Broker, producer: Producer) -> None:
    producer.send(outgoing("a"), outgoing("ab"))
    revoke(broker, "a")
    assert told(broker) == {"a": True, "ab": False}
