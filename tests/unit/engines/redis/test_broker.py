"""What the contracts leave to this engine: its keys, generations, bells, and what it does when a key is not its own."""

import threading
import time

import pytest

from celeriac.engines.base import Ack, Bury, Claim, Commit, EngineOptions, Keep, Node, Owner, Receipt, Record, Requeue
from celeriac.engines.redis import open_results
from celeriac.exceptions import BrokerError, DecodeError, OperationalError
from celeriac.messages import Malformed, Message, Outgoing, decode_body
from support.proxy import Proxy
from support.waiting import PATIENCE_S, until

ME = Owner("me", 1)
CLAIM = Claim(("q",), 100)


def claim(broker, owner=ME, **options):
    return list(broker.exchange(owner, [], Claim(("q",), 100, **options)).leases)


def settle(broker, lease, how, owner=ME):
    (applied,) = broker.exchange(owner, [Commit(lease.token, how)]).applied
    return applied


def ids(leases):
    return [lease.message.id for lease in leases]


def keys(broker):
    return {name.decode() for name in broker.client.call("KEYS", "*")}


# ── what lies where ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_messages_lie_in_celerys_lists(broker, send):
    send(broker, "a", "b")
    message = Message.from_headers({"id": "c", "task": "t"}, b"", priority=7)
    broker.publish([Outgoing(message, "q")], Receipt("other", 1))
    assert broker.client.call("LLEN", "q") == 2
    assert b'"id":"a"' in broker.client.call("LINDEX", "q", -1)
    assert broker.client.call("LLEN", "q\x06\x166") == 1


def test_a_prefix_stands_before_every_key(connect, send):
    broker = connect(global_keyprefix="proj:")
    broker.register(Node("me", "celery@me", "here", 1, "solo", 1, ("q",)))
    send(broker, "a", "b")
    (lease, _) = claim(broker)
    record = Record("a", b"{}", None, lease.token)
    assert broker.exchange(ME, [Commit(lease.token, Bury("bad"), record)], Claim(("q",), 1, park=True)).applied == (
        True,
    )
    broker.result_store().store([Record("b", b"{}", None, 1)])
    assert broker.result_store().get(["a", "b"]) == {"a": b"{}", "b": b"{}"}
    assert {name for name in keys(broker) if not name.startswith("proj:")} == set()


def test_what_is_for_later_waits_with_us_only_while_one_of_ours_serves_the_queue(broker, send):
    due = time.time() + 60
    send(broker, "ours", due=due)
    send(broker, "theirs", queue="celery", due=due)
    assert broker.client.call("ZCARD", "celeriac:{q}:delayed") == 1
    assert broker.client.call("LLEN", "celery") == 1
    broker.unregister("me")
    send(broker, "nobody's", due=due)
    assert broker.client.call("LLEN", "q") == 1


def test_nothing_is_left_when_everything_is_done(broker, send):
    send(broker, "a", "b", "c")
    first, second, third = claim(broker)
    assert settle(broker, first, Keep(begun=True))
    assert settle(broker, first, Requeue())
    assert settle(broker, second, Requeue(counted=True))
    assert settle(broker, third, Ack())
    assert broker.client.call("HLEN", "celeriac:past") == 2
    while leases := claim(broker):
        for lease in leases:
            assert settle(broker, lease, Ack())
    broker.unregister("me")
    assert keys(broker) == {"celeriac:queues", "celeriac:token", "celeriac:producer:test"}


def test_a_node_that_is_not_known_is_given_nothing(broker, send):
    send(broker, "a")
    assert claim(broker, Owner("stranger")) == []
    broker.unregister("me")
    assert claim(broker) == []
    assert broker.client.call("LLEN", "q") == 1


def test_results_lie_in_their_own_database(broker, server, send):
    results = open_results(server.url(3), EngineOptions("/nowhere", 10.0))
    assert broker.shares_store_with(results)
    send(broker, "a")
    (lease,) = claim(broker)
    heard = threading.Event()
    with results.watch("a", heard.set):
        assert broker.exchange(ME, [Commit(lease.token, Ack(), Record("a", b"1", 60.0))]).applied == (True,)
        assert heard.wait(PATIENCE_S)
    assert results.get(["a"]) == {"a": b"1"}
    assert broker.client.call("EXISTS", "celery-task-meta-a") == 0
    assert broker.queues() == []
    results.close()


def test_a_database_that_is_not_there_changes_nothing(broker, server, send):
    results = open_results(server.url(99), EngineOptions("/nowhere", 10.0))
    assert broker.shares_store_with(results)
    send(broker, "a")
    (lease,) = claim(broker)
    with pytest.raises(BrokerError, match="DB index"):
        broker.exchange(ME, [Commit(lease.token, Ack(), Record("a", b"1"))])
    assert broker.held(ME) == [lease]
    results.close()


def test_another_server_or_engine_shares_no_store(broker, connect):
    other = open_results("redis://127.0.0.1:1/0", EngineOptions("/nowhere"))
    assert not broker.shares_store_with(other)


def test_a_full_server_takes_nothing_new_and_lets_work_end(broker, server, send):
    send(broker, "a", "b")
    (lease, other) = claim(broker)
    server.call("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(OperationalError, match="OOM"):
            send(broker, "c")
        commit = Commit(lease.token, Ack(), Record("a", b"1"))
        assert broker.exchange(ME, [commit]).applied == (True,)
        assert settle(broker, other, Bury("bad"))
    finally:
        server.call("CONFIG", "SET", "maxmemory", "0")
    assert broker.result_store().get(["a"]) == {"a": b"1"}
    assert [letter.task_id for letter in broker.dead()] == ["b"]
    assert broker.client.call("EXISTS", "q") == 0


# ── answers that never came ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_claim_whose_answer_was_lost_is_held(broker, server, connect, send):
    assert claim(broker) == []  # the server knows the script from here on
    send(broker, "a")
    with Proxy(server.port) as proxy:
        far = connect(f"redis://127.0.0.1:{proxy.port}/0", timeout_s=0.5)
        far.queues()
        proxy.swallow(b"EVALSHA", 1)
        with pytest.raises(OperationalError):
            claim(far)
        until(lambda: ids(far.held(ME)) == ["a"], "the claim is carried out")
        assert claim(far) == []
        far.close()


def test_a_late_claim_of_an_older_generation_is_refused(broker, connect, send):
    before = connect()
    assert claim(before) == []
    broker._generation += 1
    assert broker.held(ME) == []
    send(broker, "a")
    with pytest.raises(OperationalError, match="STALE"):
        claim(before)
    assert broker.client.call("LLEN", "q") == 1
    assert broker.held(ME) == []
    assert ids(claim(broker)) == ["a"]


def test_generations_are_counted_by_child(broker, connect, send):
    sibling = connect()
    broker._generation += 5
    broker.held(ME)
    send(broker, "a")
    assert ids(claim(sibling, Owner("me", 2))) == ["a"]


def test_any_exception_during_a_claim_raises_the_generation(broker, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    before = broker._generation
    monkeypatch.setattr(broker.client, "script", interrupted)
    with pytest.raises(KeyboardInterrupt):
        claim(broker)
    assert broker._generation == before + 1


def test_a_publish_whose_answer_was_lost_can_be_repeated(server, broker, connect):
    outgoing = [Outgoing(Message.from_headers({"id": "a", "task": "t"}, b""), "q")]
    broker.publish([], Receipt("p", 0))  # the server knows the script from here on
    with Proxy(server.port) as proxy:
        far = connect(f"redis://127.0.0.1:{proxy.port}/0", timeout_s=0.5)
        far.queues()
        proxy.swallow(b"EVALSHA", 1)
        with pytest.raises(OperationalError):
            far.publish(outgoing, Receipt("p", 1))
        far.publish(outgoing, Receipt("p", 1))
        far.close()
    assert broker.client.call("LLEN", "q") == 1


# ── waiting ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Waiter:
    def __init__(self, broker, timeout_s=PATIENCE_S):
        self.ended = threading.Event()
        self._thread = threading.Thread(target=lambda: (broker.wait(timeout_s), self.ended.set()))
        self._thread.start()
        self._broker = broker

    def end(self):
        self._broker.wake()
        self._thread.join(PATIENCE_S)


@pytest.fixture
def parked(broker, connect):
    """Children of the node, all of them waiting."""
    brokers = [connect() for _ in range(4)]
    for number, child in enumerate(brokers):
        assert claim(child, Owner("me", 10 + number), park=True) == []
    waiters = [Waiter(child) for child in brokers]
    yield brokers, waiters
    for waiter in waiters:
        waiter.end()


def woken(waiters):
    return [number for number, waiter in enumerate(waiters) if waiter.ended.is_set()]


def test_a_message_of_a_foreign_producer_wakes_one(broker, parked):
    _, waiters = parked
    began = time.monotonic()
    broker.client.call("LPUSH", "q", b"foreign")
    until(lambda: woken(waiters), "one gets up")
    assert time.monotonic() - began < PATIENCE_S / 3
    threading.Event().wait(0.3)
    assert len(woken(waiters)) == 1


def test_who_gets_up_for_a_foreign_message_wakes_the_next_for_what_it_leaves(broker, parked):
    brokers, waiters = parked
    broker.client.call("LPUSH", "q", b"one", b"two", b"three")
    (first,) = until(lambda: woken(waiters), "one gets up")
    (lease,) = brokers[first].exchange(Owner("me", 10 + first), [], Claim(("q",), 1, park=True)).leases
    assert lease.message.raw == b"one"
    until(lambda: len(woken(waiters)) == 2, "the next is woken")


def test_a_foreign_message_is_found_while_another_that_was_rung_is_busy(broker, parked, send):
    brokers, waiters = parked
    send(broker, "a")
    (first,) = until(lambda: woken(waiters), "one is rung")
    assert ids(claim(brokers[first], Owner("me", 10 + first), park=True)) == ["a"]
    began = time.monotonic()
    broker.client.call("LPUSH", "q", b"foreign")
    until(lambda: len(woken(waiters)) == 2, "another gets up")
    assert time.monotonic() - began < 0.9  # far less than what somebody who was rung is waited for


def test_a_message_for_whom_the_one_that_was_rung_has_died_is_found(broker, parked, send):
    _, waiters = parked
    send(broker, "a")
    until(lambda: len(woken(waiters)) == 2, "the first does nothing, so another gets up")


def test_nobody_gets_up_for_a_paused_queue(broker, parked, send):
    _, waiters = parked
    broker.pause("q")
    send(broker, "a")
    broker.client.call("LPUSH", "q", b"foreign")
    threading.Event().wait(0.4)
    assert woken(waiters) == []
    broker.resume("q")
    until(lambda: len(woken(waiters)) == 2, "as many are woken as messages wait")


def test_a_wait_fails_when_the_server_is_gone_and_works_when_it_is_back(broker, server):
    claim(broker, park=True)
    broker.wait(0.0)
    server.kill()
    with pytest.raises(OperationalError):
        broker.wait(PATIENCE_S)
    server.start()
    began = time.monotonic()
    broker.wait(0.05)
    assert time.monotonic() - began < PATIENCE_S / 3


def test_a_forked_child_waits_by_itself(broker, fork):
    broker.wait(0.0)
    name = broker._claim_bell().name

    def work():
        assert broker._claim_bell().name != name
        assert claim(broker, park=True) == []
        broker.wake()
        broker.wait(PATIENCE_S)
        broker.close()

    fork(work)
    broker.wake()
    broker.wait(PATIENCE_S)
    assert broker._claim_bell().name == name


# ── bad input ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_message_of_fifty_megabytes_passes_alone(broker, send):
    body = bytes(50_000_000)
    message = Message.from_headers({"id": "large", "task": "t"}, body)
    send(broker, "small")
    broker.publish([Outgoing(message, "q")], Receipt("other", 1))
    assert ids(claim(broker)) == ["small"]
    (lease,) = claim(broker)
    assert lease.message.body == body
    assert settle(broker, lease, Bury("too large for me"))
    (letter,) = broker.dead()
    assert len(letter.raw) > 66_000_000


def test_fifty_megabytes_of_nothing_are_malformed(broker):
    raw = b"\xff" * 50_000_000
    broker.client.call("LPUSH", "q", raw)
    (lease,) = claim(broker)
    assert isinstance(lease.message, Malformed)
    assert settle(broker, lease, Bury(lease.message.reason))
    (letter,) = broker.dead()
    assert letter.raw == raw
    assert letter.reason.startswith("not JSON")


@pytest.mark.parametrize(
    "content_type", ["application/x-python-serialize", "application/x-yaml", "application/x-msgpack", "text/plain", ""]
)
def test_content_that_is_not_accepted_is_not_touched(broker, content_type):
    message = Message.from_headers({"id": "a", "task": "t"}, b"cos\nsystem\n", content_type=content_type)
    broker.publish([Outgoing(message, "q")], Receipt("p", 1))
    (lease,) = claim(broker)
    with pytest.raises(DecodeError, match="content type"):
        decode_body(lease.message, frozenset({"application/json"}))


QUEUE_KEYS = ["q", "q\x06\x163", "q\x06\x169", "celeriac:{q}:delayed", "celeriac:{q}:waiting", "celeriac:{q}:nodes"]
QUEUE_KEYS += ["celeriac:{q}:paused", "celeriac:queues", "celeriac:nodes"]
LEASE_KEYS = ["celeriac:leased:me", "celeriac:node:me", "celeriac:token", "celeriac:past"]
STRINGS = {"celeriac:{q}:paused", "celeriac:token", "celeriac:letter"}
DEAD_KEYS = ["celeriac:dead", "celeriac:dead:letters"]


def spoil(broker, name):
    """Have a key of another type under this name."""
    broker.client.call("DEL", name)
    broker.client.call(*(("SADD", name, "x") if name in STRINGS else ("SET", name, "x")))


def picture(broker):
    """Everything in the database."""
    return {name: content(broker, name) for name in broker.client.call("KEYS", "*") if b"producer" not in name}


def content(broker, name):
    if broker.client.call("TYPE", name) != b"hash":
        return broker.client.call("DUMP", name)
    # The server moves the fields of a large hash to other places while it looks at them, and dumps them as they lie.
    flat = broker.client.call("HGETALL", name)
    return dict(zip(flat[::2], flat[1::2], strict=True))


def calls_on_queues(broker):
    message = Outgoing(Message.from_headers({"id": "n", "task": "t"}, b""), "q")
    return {
        "publish": lambda: broker.publish([message], Receipt("x", 1)),
        "publish two ways": lambda: broker.publish([message, Outgoing(message.message, "q", 1.0)], Receipt("x", 1)),
        "claim": lambda: broker.exchange(ME, [], CLAIM),
        "commit": lambda: broker.exchange(ME, [Commit(1, Ack(), messages=(message,))]),
        "queues": broker.queues,
        "peek": lambda: broker.peek("q"),
        "pause": lambda: broker.pause("q"),
        "purge": lambda: broker.purge("q"),
        "hand_back": lambda: broker.hand_back(dead=True),
    }


QUEUE_CALLS = ["publish", "publish two ways", "claim", "commit", "queues", "peek", "pause", "purge", "hand_back"]


def looks_at(operation: str, name: str) -> bool:
    match operation:
        case "publish":
            return name in ("q", "celeriac:queues")
        case "publish two ways":
            return name != "celeriac:nodes"
        case "claim":
            return name != "celeriac:{q}:nodes"
    return True


@pytest.mark.parametrize(
    ("operation", "name"),
    [(operation, name) for operation in QUEUE_CALLS for name in QUEUE_KEYS if looks_at(operation, name)],
)
def test_a_key_of_another_type_under_a_queues_names_is_named_and_nothing_is_changed(broker, send, name, operation):
    send(broker, "a")
    spoil(broker, name)
    before = picture(broker)
    with pytest.raises(BrokerError) as caught:
        calls_on_queues(broker)[operation]()
    assert not isinstance(caught.value, OperationalError)
    assert f"key {name} is a " in str(caught.value)
    assert picture(broker) == before


NODE_CALLS = {
    "claim": LEASE_KEYS,
    "seize": ["celeriac:leased:me", "celeriac:node:me", "celeriac:token"],
    "held": ["celeriac:leased:me", "celeriac:node:me"],
    "holders": ["celeriac:leased:me"],
    "renew": ["celeriac:leased:me", "celeriac:node:me"],
    "nodes": ["celeriac:leased:me", "celeriac:node:me"],
}


@pytest.mark.parametrize(
    ("operation", "name"), [(operation, name) for operation, names in NODE_CALLS.items() for name in names]
)
def test_a_key_of_another_type_under_a_nodes_names_is_named_and_nothing_is_changed(broker, send, operation, name):
    send(broker, "a", "b")
    broker.exchange(ME, [], Claim(("q",), 1))
    calls = {
        "claim": lambda: broker.exchange(ME, [], CLAIM),
        "seize": lambda: broker.seize(ME, Owner("me")),
        "held": lambda: broker.held(ME),
        "holders": lambda: broker.holders("me"),
        "renew": lambda: broker.renew("me"),
        "nodes": broker.nodes,
    }
    spoil(broker, name)
    before = picture(broker)
    with pytest.raises(BrokerError, match=f"key {name} is a "):
        calls[operation]()
    assert picture(broker) == before


@pytest.mark.parametrize("name", [*DEAD_KEYS, "celeriac:letter"])
def test_a_key_of_another_type_under_the_dead_letters_names_is_named_and_nothing_is_changed(broker, send, name):
    send(broker, "a")
    (lease,) = claim(broker)
    spoil(broker, name)
    before = picture(broker)
    with pytest.raises(BrokerError, match=f"key {name} is "):
        settle(broker, lease, Bury("bad"))
    if name in DEAD_KEYS:
        for call in (
            broker.dead,
            lambda: broker.find_dead(1),
            lambda: broker.drop_dead([1]),
            lambda: broker.trim_dead(1, 1),
        ):
            with pytest.raises(BrokerError, match=f"key {name} is "):
                call()
    assert picture(broker) == before


def test_a_requeue_to_a_queue_whose_key_is_another_type_changes_nothing(broker, send):
    send(broker, "a", "b")
    first, second = claim(broker)
    broker.client.call("SET", "q", "mine")
    before = picture(broker)
    with pytest.raises(BrokerError, match="key q is a string, not a list"):
        broker.exchange(ME, [Commit(first.token, Ack()), Commit(second.token, Requeue())])
    assert picture(broker) == before


def test_a_counter_that_is_no_number_is_named(broker, send):
    send(broker, "a")
    broker.client.call("SET", "celeriac:token", "seven")
    with pytest.raises(BrokerError, match="celeriac:token is no number"):
        claim(broker)
    assert broker.client.call("LLEN", "q") == 1


def test_a_fence_of_another_type_is_named_and_nothing_is_stored(broker):
    results = broker.result_store()
    broker.client.call("LPUSH", "celeriac:fence:b", "x")
    with pytest.raises(BrokerError, match="celeriac:fence:b is a list"):
        results.store([Record("a", b"1"), Record("b", b"1")])
    assert results.get(["a", "b"]) == {}


def test_a_bell_of_another_type_fails_nothing(broker, send):
    assert claim(broker, park=True) == []
    broker.client.call("SET", f"celeriac:bell:{broker._claim_bell().name}", "x")
    send(broker, "a")
    assert ids(claim(broker)) == ["a"]


# ── nothing piles up ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_queues_of_yesterday_are_forgotten_and_those_in_use_are_not(broker, send):
    broker.register(Node("me", "celery@me", "here", 1, "solo", 1, ("q", "full")))
    for number in range(300):
        broker.publish([outgoing_to(f"day-{number}")], Receipt("other", number))
        broker.purge(f"day-{number}")
    broker.publish([outgoing_to("full"), outgoing_to("lost")], Receipt("other", 1000))
    broker.pause("paused")

    def left():
        broker.renew("me")
        return {name.decode() for name in broker.client.call("SMEMBERS", "celeriac:queues")}

    until(lambda: left() == {"q", "full", "lost", "paused"}, "the others are forgotten")


def test_a_forgotten_queue_is_shown_while_something_of_it_is_left(broker, send):
    broker.register(Node("me", "celery@me", "here", 1, "solo", 1, ("q",)))
    send(broker, "a", "b")
    lent, buried = claim(broker)
    settle(broker, buried, Bury("bad"))
    broker.client.call("DEL", "celeriac:queues")
    (state,) = broker.queues()
    assert (state.name, state.leased, state.dead) == ("q", 1, 1)
    settle(broker, lent, Requeue())
    assert [(queue.name, queue.ready) for queue in broker.queues()] == [("q", 1)]


def test_a_claim_from_a_hundred_queues_asks_for_few_keys_one_by_one(broker):
    queues = tuple(f"queue-{number}" for number in range(100))
    broker.register(Node("me", "celery@me", "here", 1, "solo", 1, queues))
    broker.publish([outgoing_to("queue-50")], Receipt("other", 1))
    broker.client.call("CONFIG", "RESETSTAT")
    (lease,) = broker.exchange(ME, [], Claim(queues, 10)).leases
    assert lease.queue == "queue-50"
    stats = broker.client.call("INFO", "commandstats").decode().splitlines()
    assert sum(int(line.split("calls=")[1].split(",")[0]) for line in stats if "calls=" in line) < 60


def test_of_children_that_have_ended_nothing_is_kept(broker):
    broker.register(Node("me", "celery@me", "here", 1, "prefork", 1, ("q",)))
    before = broker.client.call("HLEN", "celeriac:node:me")
    for number in range(1, 6):
        claim(broker, Owner("me", number))
        broker.seize(Owner("me", number), Owner("me"))
    assert broker.client.call("HLEN", "celeriac:node:me") == before


def outgoing_to(queue):
    return Outgoing(Message.from_headers({"id": queue, "task": "t"}, b""), queue)
