"""Revocations and single messages over several queues."""

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from celeriac.engines.base import Ack, Commit, Revocation, Waiting
from celeriac.engines.redis.cluster import ClusterBroker
from celeriac.exceptions import OperationalError
from conformance.making import ME, Producer, claim, commit, ids, outgoing, queue_state, record
from support.redis_cluster import RedisCluster
from support.redis_server import words_of

_QUEUES = ("one", "two", "three")


def revoke(broker: ClusterBroker, *task_ids: str) -> int:
    return broker.revoke([Revocation(task_id, time.time() + 600) for task_id in task_ids])


def test_a_revocation_holds_in_queues_that_come_after_it(
    broker: ClusterBroker, connect: Callable[..., ClusterBroker]
) -> None:
    revoke(broker, "a")
    Producer(connect()).send(*(outgoing("a", queue) for queue in _QUEUES))
    assert [lease.revoked for lease in claim(broker, *_QUEUES)] == [True, True, True]


def test_its_fence_is_older_than_every_later_run_in_any_queue(broker: ClusterBroker) -> None:
    for queue in _QUEUES:
        client = broker._shard(queue).client
        client.call("SET", client.keys[0], int((time.time() + len(queue) * 60) * 1_000_000))  # clocks apart
        Producer(broker).send(outgoing("before", queue), outgoing("after", queue))
    before = [claim(broker, queue, limit=1)[0] for queue in _QUEUES]
    fence = revoke(broker, "x")
    after = [claim(broker, queue, limit=1)[0] for queue in _QUEUES]
    assert max(lease.token for lease in before) < fence < min(lease.token for lease in after)


def test_a_node_learns_of_what_it_holds_in_any_queue(broker: ClusterBroker) -> None:
    Producer(broker).send(*(outgoing(f"in {queue}", queue) for queue in _QUEUES))
    leases = {lease.queue: lease for lease in claim(broker, *_QUEUES)}
    seen = broker.revoked(ME.node, 0)
    revoke(broker, "in one", "in two")
    revoked = broker.revoked(ME.node, seen.version)
    assert {one.token for one in revoked.leases} == {leases["one"].token, leases["two"].token}
    assert broker.revoked(ME.node, revoked.version).leases == ()


def test_messages_are_found_and_withdrawn_with_their_documents_from_all_queues(broker: ClusterBroker) -> None:
    Producer(broker).send(*(outgoing(f"in {queue}", queue) for queue in _QUEUES), outgoing("stays", "one"))
    wanted = [f"in {queue}" for queue in _QUEUES]
    found = [waiting for piece in broker.search(wanted) for waiting in piece]
    pairs = [(waiting, record(str(waiting.message.id), b"revoked", fence=1)) for waiting in found]
    assert broker.withdraw(pairs) == [True, True, True]
    assert broker.withdraw(pairs) == [False, False, False]
    assert broker.result_store().get(wanted) == dict.fromkeys(wanted, b"revoked")
    assert [queue_state(broker, queue).ready for queue in _QUEUES] == [1, 0, 0]


def test_what_was_revoked_while_it_ran_keeps_the_document_of_its_run(broker: ClusterBroker) -> None:
    Producer(broker).send(outgoing("a", "one"))
    (lease,) = claim(broker, "one")
    revoke(broker, "a")
    assert commit(broker, Commit(lease.token, Ack(), record("a", b"SUCCESS")))
    assert ids(found for piece in broker.search(["a"]) for found in piece) == []
    assert broker.result_store().get(["a"]) == {"a": b"SUCCESS"}


def test_what_is_revoked_before_any_worker_has_come_gets_its_document(broker: ClusterBroker) -> None:
    Producer(broker).send(outgoing("a", "one"))
    fence = revoke(broker, "a")
    (found,) = (waiting for piece in broker.search(["a"]) for waiting in piece)
    assert broker.withdraw([(found, record("a", b"revoked", fence=fence))]) == [True]
    assert broker.result_store().get(["a"]) == {"a": b"revoked"}


def test_another_prefix_is_another_result_store(connect: Callable[..., ClusterBroker]) -> None:
    one, same, other = connect(global_keyprefix="one:"), connect(global_keyprefix="one:"), connect()
    assert one.shares_store_with(same.result_store())
    assert not one.shares_store_with(other.result_store())


# ── queues that a revocation did not reach ───────────────────────────────────────────────────────────────────────────


def test_a_revocation_that_fails_in_one_queue_holds_in_the_others_and_is_brought_there_later(
    broker: ClusterBroker, connect: Callable[..., ClusterBroker], monkeypatch: pytest.MonkeyPatch
) -> None:
    Producer(broker).send(*(outgoing(f"first in {queue}", queue) for queue in _QUEUES))
    claim(broker, *_QUEUES)
    Producer(broker).send(*(outgoing("a", queue) for queue in _QUEUES))
    revoker = connect()
    monkeypatch.setattr(revoker._shard("two"), "revoke", _fails)
    with pytest.raises(OperationalError):
        revoke(revoker, "a")
    assert _marked(broker, "a") == {"one": True, "two": False, "three": True}
    broker.revoked(ME.node, 0)  # a worker looks
    assert _marked(broker, "a") == {"one": True, "two": True, "three": True}
    assert [lease.revoked for lease in claim(broker, *_QUEUES)] == [True, True, True]


def test_a_queue_that_lost_its_revocations_in_a_failover_gets_them_back(broker: ClusterBroker) -> None:
    claim(broker, "one")
    revoke(broker, "a")
    version = broker.revoked(ME.node, 0).version
    client = broker._shard("one").client
    client.call("DEL", f"{client.address.key_prefix}celeriac:revoked")
    broker._topology.version += 1  # as every change of masters does
    broker.revoked(ME.node, version)
    assert broker._shard("one").still_marked(["a", "b"]) == {"a"}


def test_thousands_of_revocations_reach_a_new_queue_with_their_signals(broker: ClusterBroker) -> None:
    expires = float(int(time.time()) + 600)
    names = [f"task-{number}" for number in range(3000)]
    for start in range(0, len(names), 1000):
        broker.revoke([Revocation(name, expires, "SIGTERM") for name in names[start : start + 1000]])
    claim(broker, "one")
    marks = broker._shard("one").revocations(5000)
    assert sorted(marks, key=lambda one: one.task_id) == [
        Revocation(name, expires, "SIGTERM") for name in sorted(names)
    ]


def test_what_is_taken_back_while_it_is_brought_to_a_queue_is_not_revoked_there(
    broker: ClusterBroker, connect: Callable[..., ClusterBroker], monkeypatch: pytest.MonkeyPatch
) -> None:
    revoke(broker, "a", "b")
    other, shard = connect(), broker._shard("one")
    write = shard.revoke

    def write_late(revocations: Sequence[Revocation]) -> int:
        other.unrevoke(["a"])
        return write(revocations)

    monkeypatch.setattr(shard, "revoke", write_late)
    claim(broker, "one")
    assert shard.still_marked(["a", "b"]) == {"b"}


def test_revoking_leaves_nothing_behind_in_the_queues(broker: ClusterBroker, cluster: RedisCluster) -> None:
    claim(broker, *_QUEUES)
    for number in range(20):
        revoke(broker, f"task-{number}")
    found = [(server, key) for server in cluster.servers for key in words_of(server.port, "KEYS", "*followed*")]
    assert [words_of(server.port, "HLEN", key) for server, key in found] == [["1"]] * len(_QUEUES)


def test_while_a_master_is_away_a_node_is_told_of_what_it_holds_elsewhere(
    broker: ClusterBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    Producer(broker).send(*(outgoing(f"in {queue}", queue) for queue in _QUEUES))
    claim(broker, *_QUEUES)
    revoke(broker, "in one", "in two")
    with monkeypatch.context() as patch:
        patch.setattr(broker._shard("two"), "revoked", _fails)
        partly = broker.revoked(ME.node, 0)
        assert ids(partly.leases) == ["in one"]
        revoke(broker, "in three")
        assert sorted(map(str, ids(broker.revoked(ME.node, partly.version).leases))) == ["in one", "in three"]
    assert len(broker.revoked(ME.node, partly.version).leases) == 3


def test_a_queue_whose_master_is_away_keeps_nobody_from_searching_the_others(
    broker: ClusterBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    Producer(broker).send(*(outgoing(f"in {queue}", queue) for queue in _QUEUES))
    monkeypatch.setattr(broker._shard("one"), "search", _fails)
    found: list[Waiting] = []
    search = broker.search([f"in {queue}" for queue in _QUEUES])
    with pytest.raises(OperationalError):
        found.extend(itertools.chain.from_iterable(search))
    assert sorted(map(str, ids(found))) == ["in three", "in two"]


def _marked(broker: ClusterBroker, task_id: str) -> dict[str, bool]:
    return {queue: bool(broker._shard(queue).still_marked([task_id])) for queue in _QUEUES}


def _fails(*_: Any, **__: Any) -> Any:
    raise OperationalError("away")
