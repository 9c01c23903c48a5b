"""Beside Celery's workers: what their dead have left is put back, and everything goes back to where they look."""

import json
import time

import pytest

from celeriac.engines.base import Ack, Bury, Claim, Commit, Node, Owner, Requeue
from celeriac.engines.redis.peers import sweep
from celeriac.exceptions import BrokerError
from celeriac.past import Past

ME = Owner("me", 1)


def take_as_celery(client, tag, ago_s, task_id="a", **properties):
    """A message that a Celery worker took so long ago."""
    envelope = {
        "body": "W1tdLHt9LHt9XQ==",
        "headers": {"id": task_id, "task": "t"},
        "properties": {"body_encoding": "base64", "delivery_info": {"exchange": "", "routing_key": "q"}, **properties},
    }
    client.call("HSET", "unacked", tag, json.dumps([envelope, "", "q"]))
    client.call("ZADD", "unacked_index", time.time() - ago_s, tag)


def test_what_a_celery_worker_held_too_long_is_put_back_once(broker):
    client = broker.client
    take_as_celery(client, "t1", 4000, "old", priority=6)
    take_as_celery(client, "t2", 10, "young")
    assert broker.recover(Owner("me")) == []
    assert client.call("LLEN", "q\x06\x166") == 1
    back = json.loads(client.call("LINDEX", "q\x06\x166", 0))
    assert back["headers"] == {"id": "old", "task": "t", "redelivered": True}
    assert back["properties"]["delivery_info"]["redelivered"] is True
    assert client.call("HKEYS", "unacked") == [b"t2"]
    assert client.call("ZRANGE", "unacked_index", 0, -1) == [b"t2"]
    assert sweep(client) == 0
    assert [lease.message.id for lease in broker.exchange(ME, [], Claim(("q",), 9)).leases] == ["old"]


def test_the_visibility_timeout_is_celerys_option(connect):
    broker = connect(visibility_timeout=5)
    take_as_celery(broker.client, "t1", 10)
    assert sweep(broker.client) == 1


def test_what_was_acknowledged_meanwhile_is_not_put_back(broker):
    broker.client.call("ZADD", "unacked_index", 1, "gone")
    assert sweep(broker.client) == 0
    assert broker.client.call("EXISTS", "unacked_index", "q") == 0


@pytest.mark.parametrize("packed", ["", "[]", "{}", '["x", "", "q"]', '[{"properties": 7}, "", "q"]', "[" * 10_000])
def test_what_cannot_be_read_stays_where_it_is(broker, packed):
    broker.client.call("HSET", "unacked", "t1", packed)
    broker.client.call("ZADD", "unacked_index", 1, "t1")
    assert sweep(broker.client) == 0
    assert broker.client.call("HGET", "unacked", "t1") == packed.encode()


@pytest.mark.parametrize("name", ["unacked", "unacked_index"])
def test_something_else_under_these_names_keeps_nobody_from_recovering(broker, name):
    take_as_celery(broker.client, "t1", 4000)
    broker.client.call("SET", name, "mine")
    assert broker.recover(Owner("me")) == []
    assert broker.client.call("GET", name) == b"mine"
    assert broker.client.call("EXISTS", "q") == 0


def test_nothing_is_handed_back_while_a_worker_of_ours_lives(broker, send):
    send(broker, "a", due=time.time() + 60)
    with pytest.raises(BrokerError, match="workers are running"):
        broker.hand_back()
    assert broker.client.call("EXISTS", "q") == 0


def test_delayed_leased_and_dead_messages_are_handed_back(broker, send):
    send(broker, "dead", "first", "second")
    send(broker, *(f"later-{number}" for number in range(1500)), due=time.time() + 60)
    leases = broker.exchange(ME, [], Claim(("q",), 3)).leases
    assert broker.exchange(ME, [Commit(leases[0].token, Bury("bad"))]).applied == (True,)
    send(broker, "ready")
    broker.client.call("ZADD", "celeriac:nodes", 1, "me")
    assert broker.hand_back() == 1503
    found = [json.loads(raw)["headers"]["id"] for raw in broker.client.call("LRANGE", "q", 0, -1)][::-1]
    assert found[:3] == ["first", "second", "ready"]
    assert set(found[3:]) == {"dead", *(f"later-{number}" for number in range(1500))}
    assert broker.dead() == []
    assert broker.hand_back() == 0


def test_dead_letters_stay_if_told_so(broker, send):
    send(broker, "bad", "good")
    bad, _ = broker.exchange(ME, [], Claim(("q",), 2)).leases
    assert broker.exchange(ME, [Commit(bad.token, Bury("bad"))]).applied == (True,)
    broker.client.call("ZADD", "celeriac:nodes", 1, "me")
    assert broker.hand_back(dead=False) == 1
    assert [letter.task_id for letter in broker.dead()] == ["bad"]


def test_what_was_in_a_crash_and_handed_back_is_as_before(broker, send):
    send(broker, "a")
    (lease,) = broker.exchange(ME, [], Claim(("q",), 3)).leases
    assert broker.exchange(ME, [Commit(lease.token, Requeue(60.0, counted=True))]).applied == (True,)
    broker.client.call("ZADD", "celeriac:nodes", 1, "me")
    assert broker.hand_back() == 1
    assert broker.client.call("LINDEX", "q", 0) is not None


def test_nothing_of_ours_is_left_when_all_is_handed_back(broker, send):
    send(broker, "bad", "crashed", "good")
    bad, crashed, _ = broker.exchange(ME, [], Claim(("q",), 3)).leases
    told = Requeue(counted=True, past=Past(history=("killed",)))
    broker.exchange(ME, [Commit(bad.token, Bury("bad")), Commit(crashed.token, told)])
    broker.pause("empty")
    broker.client.call("ZADD", "celeriac:nodes", 1, "me")
    assert broker.hand_back() == 2
    left = {key.decode() for key in broker.client.call("KEYS", "celeriac:*")}
    assert {key for key in left if not key.startswith("celeriac:producer:")} == set()  # receipts expire
    assert broker.client.call("LLEN", "q") == 3


def test_a_dead_letter_that_cannot_go_back_keeps_all_where_it_is(broker, send):
    send(broker, "bad", "gone", queue="other")
    broker.register(Node("me", "celery@me", "here", 1, "solo", 1, ("other",), 600.0))
    bad, gone = broker.exchange(ME, [], Claim(("other",), 2)).leases
    broker.exchange(ME, [Commit(bad.token, Bury("bad")), Commit(gone.token, Ack())])
    send(broker, "good")
    assert len(broker.exchange(ME, [], Claim(("q",), 1)).leases) == 1
    broker.client.call("SREM", "celeriac:queues", "other")
    broker.client.call("SET", "other", "mine")
    broker.client.call("ZADD", "celeriac:nodes", 1, "me")
    with pytest.raises(BrokerError, match="other is a string"):
        broker.hand_back()
    assert len(broker.dead()) == 1
    assert len(broker.held(ME)) == 1
