"""Who lives, and taking over from who does not."""

from __future__ import annotations

import time

from celeriac.engines.base import Ack, Broker, Claim, Commit, Keep, Owner, Requeue, ResultStore
from conformance.engines import Engine, Other
from conformance.making import ME, YOU, Producer, claim, commit, ids, node, outgoing, queue_state, record, settle


def test_a_registered_node_is_known_and_alive(broker: Broker, producer: Producer, other: Other) -> None:
    mine = node(ME.node, name="celery@one", queues=("q", "two"), lease_s=15.0)
    before = time.time()
    broker.register(mine)
    producer.send("a", "b")
    claim(broker)
    (state,) = other.broker.nodes()
    assert state.node == mine
    assert (state.alive, state.leased) == (True, 2)
    assert before - 1 <= state.started <= state.renewed <= time.time() + 1


def test_an_unregistered_node_is_unknown(broker: Broker) -> None:
    broker.register(node(ME.node))
    broker.unregister(ME.node)
    broker.unregister(ME.node)
    assert broker.nodes() == []


def test_renewing_moves_the_time_of_a_known_node(broker: Broker) -> None:
    broker.register(node(ME.node))
    (before,) = broker.nodes()
    assert broker.renew(ME.node)
    (after,) = broker.nodes()
    assert after.renewed >= before.renewed
    assert after.started == before.started


def test_renewing_an_unknown_node_is_refused_and_makes_none(broker: Broker) -> None:
    assert not broker.renew("nobody")
    broker.register(node(ME.node))
    broker.unregister(ME.node)
    assert not broker.renew(ME.node)
    assert broker.nodes() == []


def test_registering_again_is_no_error(broker: Broker) -> None:
    broker.register(node(ME.node))
    broker.register(node(ME.node, name="celery@two"))
    (state,) = broker.nodes()
    assert (state.node.name, state.alive) == ("celery@two", True)


def test_seize_takes_all_leases_of_one_child_under_new_tokens(broker: Broker, producer: Producer) -> None:
    producer.send("a", "b", "c")
    lost = claim(broker, limit=2)
    (sibling,) = claim(broker, limit=1, owner=Owner(ME.node, 2))
    by = Owner(ME.node)
    seized = broker.seize(ME, by)
    assert ids(seized) == ["a", "b"]
    assert [lease.previous for lease in seized] == [lease.token for lease in lost]
    assert {lease.token for lease in seized}.isdisjoint(lease.token for lease in lost)
    assert [lease.deliveries for lease in seized] == [1, 1]
    assert [lease.token for lease in broker.held(by)] == [lease.token for lease in seized]
    assert broker.held(ME) == []
    assert broker.held(Owner(ME.node, 2)) == [sibling]


def test_held_still_tells_the_previous_token_of_what_was_seized(broker: Broker, producer: Producer) -> None:
    producer.send("a")
    claim(broker)
    seized = broker.seize(ME, Owner(ME.node))
    assert broker.held(Owner(ME.node)) == seized


def test_whoever_was_seized_from_is_fenced(broker: Broker, producer: Producer, results: ResultStore) -> None:
    producer.send("a")
    (lost,) = claim(broker)
    (seized,) = broker.seize(ME, Owner(ME.node))
    late = Commit(lost.token, Ack(), record("a", fence=lost.token), (outgoing("next"),))
    assert not commit(broker, late)
    assert not commit(broker, late, owner=Owner(ME.node))
    assert results.get(["a"]) == {}
    assert queue_state(broker).ready == 0
    assert settle(broker, seized, Requeue(counted=True), owner=Owner(ME.node))
    assert not commit(broker, late)
    assert ids(broker.peek("q")) == ["a"]


def test_seizing_from_who_holds_nothing_gives_nothing(broker: Broker, producer: Producer) -> None:
    assert broker.seize(ME, Owner(ME.node)) == []
    producer.send("a")
    claim(broker)
    assert len(broker.seize(ME, Owner(ME.node))) == 1
    assert broker.seize(ME, Owner(ME.node)) == []


def test_the_children_that_hold_leases_are_known(broker: Broker, producer: Producer) -> None:
    assert broker.holders(ME.node) == frozenset()
    producer.send("a", "b", "c")
    (lease,) = claim(broker, limit=1)
    claim(broker, limit=2, owner=Owner(ME.node, 2))
    assert broker.holders(ME.node) == {ME.child, 2}
    assert settle(broker, lease)
    assert broker.holders(ME.node) == {2}
    assert broker.holders("stranger") == frozenset()


def test_seize_takes_no_others_than_it_is_told(broker: Broker, producer: Producer) -> None:
    """From a child that lives but does not get to what it holds: what it runs is its own."""
    producer.send("a", "b", "c")
    running, *waiting = claim(broker)
    seized = broker.seize(ME, Owner(ME.node), [lease.token for lease in waiting] + [running.token + 1000])
    assert ids(seized) == ["b", "c"]
    assert [lease.token for lease in broker.held(ME)] == [running.token]
    assert settle(broker, running)
    assert not settle(broker, waiting[0])
    assert broker.seize(ME, Owner(ME.node), []) == []


def test_a_worker_that_is_not_known_any_more_gets_nothing(broker: Broker, producer: Producer) -> None:
    """Its leases have been given away: what it got now, nobody would take over from it."""
    producer.send("a", "b")
    assert len(claim(broker, limit=1)) == 1
    (held,) = broker.held(ME)
    assert settle(broker, held)
    broker.unregister(ME.node)
    assert broker.exchange(ME, [], Claim(("q",), 1, park=True)).leases == ()
    assert queue_state(broker).ready == 1
    assert len(claim(broker, limit=1, owner=YOU)) == 1


def test_begun_survives_seize(broker: Broker, producer: Producer) -> None:
    producer.send("a", "b")
    begun, _ = claim(broker)
    assert settle(broker, begun, Keep(begun=True))
    assert [lease.begun for lease in broker.seize(ME, Owner(ME.node))] == [True, False]


def test_recover_takes_over_from_a_dead_process(broker: Broker, producer: Producer, other: Other) -> None:
    broker.register(node(ME.node))
    other.broker.register(node(YOU.node))
    producer.send("a", "b", "c")
    lost = claim(other.broker, limit=2, owner=YOU)
    assert settle(other.broker, lost[1], Keep(begun=True), owner=YOU)
    other.kill()
    taken = broker.recover(Owner(ME.node))
    assert ids(taken) == ["a", "b"]
    assert [lease.previous for lease in taken] == [lease.token for lease in lost]
    assert [lease.begun for lease in taken] == [False, True]
    assert [lease.deliveries for lease in taken] == [1, 1]
    assert [lease.token for lease in broker.held(Owner(ME.node))] == [lease.token for lease in taken]
    assert [state.node.id for state in broker.nodes()] == [ME.node]
    assert not settle(broker, lost[0], owner=YOU)
    assert settle(broker, taken[0], owner=Owner(ME.node))


def test_all_children_of_a_dead_node_are_recovered(broker: Broker, producer: Producer, other: Other) -> None:
    broker.register(node(ME.node))
    other.broker.register(node(YOU.node))
    producer.send("a", "b", "c")
    for child in (0, 1, 2):
        claim(other.broker, limit=1, owner=Owner(YOU.node, child))
    other.kill()
    assert ids(broker.recover(Owner(ME.node))) == ["a", "b", "c"]


def test_recovering_again_gives_nothing(broker: Broker, producer: Producer, other: Other) -> None:
    broker.register(node(ME.node))
    other.broker.register(node(YOU.node))
    producer.send("a")
    claim(other.broker, owner=YOU)
    other.kill()
    assert len(broker.recover(Owner(ME.node))) == 1
    assert broker.recover(Owner(ME.node)) == []


def test_the_living_keep_their_leases(broker: Broker, producer: Producer, other: Other) -> None:
    other.broker.register(node(YOU.node))
    broker.register(node(ME.node))
    producer.send("a", "b")
    (theirs,) = claim(other.broker, limit=1, owner=YOU)
    (mine,) = claim(broker, limit=1)
    assert broker.recover(Owner(ME.node)) == []
    assert settle(other.broker, theirs, owner=YOU)
    assert settle(broker, mine)
    assert sorted(state.node.id for state in broker.nodes()) == sorted([ME.node, YOU.node])


def test_nobody_recovers_from_themselves(broker: Broker, producer: Producer) -> None:
    producer.send("a")
    (mine,) = claim(broker)
    assert broker.recover(Owner(ME.node)) == []
    assert settle(broker, mine)


def test_a_dead_node_is_shown_as_dead_until_someone_recovers(broker: Broker, producer: Producer, other: Other) -> None:
    other.broker.register(node(YOU.node))
    producer.send("a")
    claim(other.broker, owner=YOU)
    other.kill()
    (state,) = broker.nodes()
    assert (state.alive, state.leased) == (False, 1)


def test_what_a_recoverer_took_is_recovered_when_it_dies_too(
    engine: Engine, broker: Broker, producer: Producer
) -> None:
    first, second = engine.other(), engine.other()
    for who, name in [(first.broker, "first"), (second.broker, "second"), (broker, ME.node)]:
        who.register(node(name))
    producer.send("a")
    (lost,) = claim(first.broker, owner=Owner("first", 3))
    first.kill()
    (taken,) = second.broker.recover(Owner("second"))
    second.kill()
    (last,) = broker.recover(Owner(ME.node))
    assert (last.previous, last.message.id) == (taken.token, "a")
    assert len({lost.token, taken.token, last.token}) == 3


def test_two_recoverers_share_no_lease(broker: Broker, producer: Producer, engine: Engine) -> None:
    dead, rival = engine.other(), engine.other()
    dead.broker.register(node("dead"))
    broker.register(node(ME.node))
    rival.broker.register(node("rival"))
    producer.send(*map(str, range(20)))
    claim(dead.broker, owner=Owner("dead", 1))
    dead.kill()
    first, second = rival.broker.recover(Owner("rival")), broker.recover(Owner(ME.node))
    assert len(first) == 20
    assert second == []
