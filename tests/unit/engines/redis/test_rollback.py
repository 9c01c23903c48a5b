"""What a failover or a restart takes back: the store is as it was a moment ago, and whoever works with it is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from celeriac.engines.base import Ack, Bury, Claim, Commit, Lease, Node, Owner, Receipt
from celeriac.engines.redis import RedisBroker
from celeriac.exceptions import OperationalError
from celeriac.messages import Message, Outgoing
from support.waiting import until

ME = Owner("me", 1)
CLAIM = Claim(("q",), 10)
OUTGOING = [Outgoing(Message.from_headers({"id": "a", "task": "t"}, b"[[],{},{}]"), "q", None)]


def claim(broker: RedisBroker, owner: Owner = ME) -> list[Lease]:
    return list(broker.exchange(owner, [], CLAIM).leases)


@contextmanager
def taken_back(broker: RedisBroker) -> Iterator[None]:
    """What is written inside is gone afterwards, as on a replica that had not received it."""
    client = broker.client
    saved = {key: client.call("DUMP", key) for key in client.call("KEYS", "*")}
    yield
    client.call("FLUSHDB")
    for key, dump in saved.items():
        client.call("RESTORE", key, 0, dump)


def test_two_leases_never_share_a_token_across_a_rollback(broker, send):
    send(broker, "a", "b")
    with taken_back(broker):
        before = claim(broker)
    after = claim(broker)
    assert len(before) == len(after) == 2
    assert min(lease.token for lease in after) > max(lease.token for lease in before)


def test_tokens_are_not_given_again_though_the_new_masters_clock_is_behind(broker, send):
    send(broker, "a", "b")
    ahead = 1 << 52
    with taken_back(broker):
        broker.client.call("SET", "celeriac:token", ahead)
        before = claim(broker)
    after = claim(broker)
    assert [lease.token for lease in before] == [ahead + 1, ahead + 2]
    assert [lease.token for lease in after] == [ahead + 3, ahead + 4]


def test_tokens_of_a_take_over_are_not_given_again_either(broker, send):
    send(broker, "a")
    claim(broker, Owner("me", 2))
    with taken_back(broker):
        broker.client.call("SET", "celeriac:token", 1 << 52)
        (first,) = broker.seize(Owner("me", 2), ME)
    (second,) = broker.seize(Owner("me", 2), ME)
    assert second.token > first.token > 1 << 52


def test_who_claims_later_has_the_higher_token_whoever_it_is(broker, connect, send):
    other = connect()
    send(broker, "a")
    with taken_back(broker):
        (first,) = claim(broker)
    (second,) = claim(other, Owner("me", 2))
    assert second.token > first.token  # so the second's result replaces the first's, where results lie elsewhere


def test_a_commit_of_a_claim_that_was_taken_back_changes_nothing(broker, send):
    send(broker, "a")
    with taken_back(broker):
        (lost,) = claim(broker)
    (lease,) = claim(broker)
    assert broker.exchange(ME, [Commit(lost.token, Ack())]).applied == (False,)
    assert [held.token for held in broker.held(ME)] == [lease.token]
    assert broker.exchange(ME, [Commit(lease.token, Ack())]).applied == (True,)


def test_a_commit_that_was_taken_back_shows_in_what_is_held(broker, send):
    send(broker, "a")
    (lease,) = claim(broker)
    with taken_back(broker):
        broker.exchange(ME, [Commit(lease.token, Ack())])
    assert [held.token for held in broker.held(ME)] == [lease.token]


def test_a_claim_of_this_generation_is_served_though_the_store_has_an_older_one(broker, send):
    with taken_back(broker):
        broker._generation = 7
        claim(broker)
    send(broker, "a")
    assert len(claim(broker)) == 1


def test_a_publish_that_was_taken_back_is_added_by_its_repetition(broker, send, connect):
    with taken_back(broker):
        broker.publish(OUTGOING, Receipt("p", 5))
    broker.publish(OUTGOING, Receipt("p", 5))
    broker.publish(OUTGOING, Receipt("p", 5))
    assert len(claim(broker)) == 1


def test_a_connection_that_was_replaced_shows_in_the_next_claim(broker, connect, send):
    # The server may have been restarted between the two, without the last commit: whoever claims asks what it holds.
    assert not broker.exchange(ME, [], CLAIM).reconnected
    connect().client.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert not broker.exchange(ME, []).reconnected  # for who claims
    assert broker.exchange(ME, [], CLAIM).reconnected
    assert not broker.exchange(ME, [], CLAIM).reconnected


def test_an_idle_worker_empties_a_full_server(connect, server, send):
    """Its first write must be one that a full server permits, also when its last claim was refused."""
    broker = connect()
    broker.register(Node("me", "celery@me", "here", 1, "solo", 1, ("q",), 600.0))
    send(broker, "a", "b")
    server.call("CONFIG", "SET", "maxmemory", "1")
    try:
        broker._generation += 1
        answer = broker.exchange(ME, [], Claim(("q",), 10, park=True))
        assert len(answer.leases) == 2
        done = broker.exchange(ME, [Commit(lease.token, Ack()) for lease in answer.leases], Claim(("q",), 1, park=True))
        assert done.applied == (True, True)
        assert broker.renew("me")
    finally:
        server.call("CONFIG", "SET", "maxmemory", "0")


@pytest.mark.parametrize("wanted", [1, 2])
def test_a_publish_that_too_few_replicas_confirm_says_so_and_can_be_repeated(connect, wanted):
    broker = connect(timeout_s=1.0, publish_replicas=wanted)
    for _ in range(2):
        with pytest.raises(OperationalError, match=f"0 of {wanted} replicas"):
            broker.publish(OUTGOING, Receipt("p", 1))
    assert [state.ready for state in broker.queues()] == [1]


def test_a_full_server_tells_who_reconnects_what_it_holds_and_gives_the_work_of_the_dead_away(connect, server, send):
    """Else, after a restart of a full server, nobody could go on and it would stay full."""
    broker = connect()
    broker.register(Node("me", "celery@me", "here", 1, "solo", 1, ("q",), 600.0))
    send(broker, "a", "b")
    claim(broker)
    server.call("CONFIG", "SET", "maxmemory", "1")
    try:
        broker._generation += 1
        held = broker.held(ME)
        taken = broker.seize(ME, Owner("me", 2))
    finally:
        server.call("CONFIG", "SET", "maxmemory", "0")
    assert [lease.message.id for lease in held] == ["a", "b"]
    assert [lease.previous for lease in taken] == [lease.token for lease in held]


def server_ms(broker):
    seconds, microseconds = map(int, broker.client.call("TIME"))
    return seconds * 1000 + microseconds // 1000


def test_the_id_of_a_dead_letter_that_was_taken_back_never_means_another(broker, send):
    send(broker, "a", "b", "c")
    first, second, third = claim(broker)
    with taken_back(broker):
        broker.exchange(ME, [Commit(first.token, Bury("bad"))])
        (seen,) = broker.dead()
    until(lambda: server_ms(broker) > seen.id, "a millisecond is over: no failover is faster")
    broker.exchange(ME, [Commit(second.token, Bury("bad")), Commit(third.token, Bury("bad"))])
    assert broker.find_dead(seen.id) is None
    assert len({letter.id for letter in broker.dead()}) == 2
