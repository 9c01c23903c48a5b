"""What a cluster does over several queues, each in a slot of its own."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from celeriac.engines.base import Ack, Bury, Claim, Commit, Exchange, Owner, Requeue
from celeriac.engines.redis.cluster import ClusterBroker
from celeriac.engines.redis.cluster.numbers import slot_and_token
from celeriac.engines.redis.cluster.shard import Shard, tag_of
from celeriac.engines.redis.cluster.slots import key_slot
from celeriac.exceptions import BrokerError, OperationalError
from conformance.making import ME, YOU, Producer, claim, commit, ids, node, outgoing, queue_state, record, settle
from support.redis_cluster import RedisCluster
from support.redis_server import words_of
from support.waiting import PATIENCE_S, until


def queues_apart(cluster: RedisCluster) -> tuple[str, str, str]:
    """Three queues on three masters."""
    by_port: dict[int, str] = {}
    for name in (f"queue-{number}" for number in itertools.count()):
        by_port.setdefault(cluster.owner_of(f"{{{name}}}").port, name)
        if len(by_port) == 3:
            one, two, three = by_port.values()
            return one, two, three
    raise AssertionError


def queues_of_one_slot() -> tuple[str, str]:
    met: dict[int, str] = {}
    for name in (f"queue-{number}" for number in itertools.count()):
        other = met.setdefault(key_slot(f"{{{name}}}"), name)
        if other != name:
            return other, name
    raise AssertionError


@pytest.fixture
def apart(cluster: RedisCluster) -> tuple[str, str, str]:
    return queues_apart(cluster)


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    """One whose masters may be killed."""
    with RedisCluster(tmp_path / "cluster", replicas=0) as cluster:
        yield cluster


def test_all_keys_of_a_queue_lie_in_its_slot(
    broker: ClusterBroker, cluster: RedisCluster, apart: tuple[str, str, str]
) -> None:
    for queue in apart:
        Producer(broker).send(*(outgoing(name, queue) for name in "abc"))
        done, bad = claim(broker, queue, limit=2)
        assert settle(broker, done)
        assert settle(broker, bad, Bury("bad"))
    keys = [key for server in cluster.servers for key in words_of(server.port, "KEYS", "*")]
    own = [key for key in keys if not key.startswith("celeriac:")]
    assert {key.partition("}:")[0][1:] for key in own} == set(apart)
    counters = {slot for key in keys if "token" in key or "letter:" in key for slot in [key_slot(key)]}
    assert counters == {key_slot(f"{{{queue}}}") for queue in apart}


@pytest.mark.parametrize("name", ["a{b}c", "}", "{}", "%7D", "{", "a}b{c"])
def test_braces_in_a_name_do_not_spread_its_keys(name: str) -> None:
    tag = tag_of(name)
    assert key_slot(f"{{{tag}}}:celeriac:{{{name}}}:delayed") == key_slot(f"{{{tag}}}:{name}") == key_slot(f"{{{tag}}}")


def test_names_with_braces_share_no_keys() -> None:
    names = ["{", "%7B", "}", "%", "%25", "a{b", "a%7Bb"]
    assert len({tag_of(name) for name in names}) == len(names)


def test_two_prefixes_are_two_stores(connect: Callable[..., ClusterBroker]) -> None:
    one, two = connect(global_keyprefix="one:"), connect(global_keyprefix="two:")
    Producer(one).send("a")
    one.result_store().store([record("a")])
    assert two.queues() == []
    assert two.result_store().get(["a"]) == {}
    assert ids(claim(one)) == ["a"]


# ── publishing ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_publish_that_failed_halfway_is_completed_by_repeating_it(
    broker: ClusterBroker, apart: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, receipt = [outgoing(queue, queue) for queue in apart], Producer(broker).receipt()
    with monkeypatch.context() as patch:
        patch.setattr(broker._shard(apart[1]).client, "script", _fails)
        with pytest.raises(OperationalError):
            broker.publish(batch, receipt)
    assert sum(queue_state(broker, queue).ready for queue in apart) == 1
    for _ in range(2):
        broker.publish(batch, receipt)
    assert [queue_state(broker, queue).ready for queue in apart] == [1, 1, 1]


def test_without_replicas_a_publish_that_wants_one_is_refused(connect: Callable[..., ClusterBroker]) -> None:
    broker = connect(publish_replicas=1, socket_timeout=0.5)
    with pytest.raises(OperationalError, match="0 of 1 replicas"):
        Producer(broker).send("a")


def test_settling_does_not_wait_for_replicas_that_are_not_there(connect: Callable[..., ClusterBroker]) -> None:
    plain, careful = connect(), connect(publish_replicas=1)
    Producer(plain).send("a")
    (lease,) = claim(careful)
    began = time.monotonic()
    assert commit(careful, Commit(lease.token, Ack(), record("a"), (outgoing("next", "other"),)))
    assert time.monotonic() - began < 0.4


# ── commits that reach into other queues ─────────────────────────────────────────────────────────────────────────────


def test_a_commit_that_failed_before_its_acknowledgement_publishes_once_when_repeated(
    broker: ClusterBroker, apart: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = apart
    Producer(broker).send(outgoing("a", first))
    (lease,) = claim(broker, first)
    done = Commit(
        lease.token, Ack(), record("a", b"1"), (outgoing("x", second), outgoing("y", third), outgoing("z", first))
    )
    with monkeypatch.context() as patch:
        patch.setattr(Shard, "exchange", _fails)
        for _ in range(2):
            with pytest.raises(OperationalError):
                commit(broker, done)
    assert [queue_state(broker, queue).ready for queue in apart] == [0, 1, 1]
    assert broker.result_store().get(["a"]) == {"a": b"1"}
    assert commit(broker, done)
    assert not commit(broker, done)
    assert [queue_state(broker, queue).ready for queue in apart] == [1, 1, 1]
    assert broker.held(ME) == []


def test_a_commit_that_failed_while_publishing_acknowledges_nothing(
    broker: ClusterBroker, apart: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = apart
    Producer(broker).send(outgoing("a", first))
    (lease,) = claim(broker, first)
    done = Commit(lease.token, Ack(), record("a"), (outgoing("x", second), outgoing("y", third)))
    with monkeypatch.context() as patch:
        patch.setattr(broker._shard(third), "follow", _fails)
        with pytest.raises(OperationalError):
            commit(broker, done)
    assert broker.held(ME) == [lease]
    assert broker.result_store().get(["a"]) == {}
    assert commit(broker, done)
    assert [queue_state(broker, queue).ready for queue in apart] == [0, 1, 1]


def test_who_has_lost_the_lease_publishes_and_stores_nothing_elsewhere(
    broker: ClusterBroker, apart: tuple[str, str, str]
) -> None:
    first, second, _ = apart
    Producer(broker).send(outgoing("a", first))
    (lost,) = claim(broker, first)
    broker.seize(ME, Owner(ME.node))
    assert not commit(broker, Commit(lost.token, Ack(), record("a"), (outgoing("x", second),)))
    assert queue_state(broker, second).ready == 0
    assert broker.result_store().get(["a"]) == {}


def test_what_was_published_for_settled_commits_is_not_remembered_for_ever(
    broker: ClusterBroker, cluster: RedisCluster, apart: tuple[str, str, str]
) -> None:
    first, second, _ = apart
    for number in range(20):
        Producer(broker).send(outgoing(str(number), first))
        (lease,) = claim(broker, first)
        assert commit(broker, Commit(lease.token, Ack(), messages=(outgoing(f"next-{number}", second),)))
    (name,) = words_of(cluster.owner_of(f"{{{second}}}").port, "KEYS", "*followed*")
    assert words_of(cluster.owner_of(f"{{{second}}}").port, "HLEN", name) == ["1"]
    assert queue_state(broker, second).ready == 20


def test_a_run_has_a_higher_token_than_the_run_that_caused_it_whatever_the_clocks(
    broker: ClusterBroker, apart: tuple[str, str, str]
) -> None:
    first, second, _ = apart
    ahead = int((time.time() + 3600) * 1_000_000)
    client = broker._shard(first).client
    client.call("SET", client.keys[0], ahead)  # the clock of its master is an hour ahead
    Producer(broker).send(outgoing("a", first))
    (cause,) = claim(broker, first)
    assert slot_and_token(cause.token)[1] > ahead
    assert commit(broker, Commit(cause.token, Ack(), record("a", b"RETRY"), (outgoing("a", second),)))
    (effect,) = claim(broker, second)
    assert effect.token > cause.token
    assert commit(broker, Commit(effect.token, Ack(), record("a", b"SUCCESS")))
    assert broker.result_store().get(["a"]) == {"a": b"SUCCESS"}


# ── queues that share a slot ─────────────────────────────────────────────────────────────────────────────────────────


def test_queues_of_one_slot_never_share_a_number(broker: ClusterBroker) -> None:
    one, two = queues_of_one_slot()
    producer = Producer(broker)
    for name in "abc":
        producer.send(outgoing(f"{name}1", one), outgoing(f"{name}2", two))
    leases = claim(broker, one, limit=2) + claim(broker, two, limit=2) + claim(broker, one, two)
    assert len({lease.token for lease in leases}) == 6
    back = [Commit(lease.token, Bury(f"{lease.message.id} was bad")) for lease in leases]
    assert broker.exchange(ME, back).applied == (True,) * 6
    letters = broker.dead()
    assert len({letter.id for letter in letters}) == 6
    for letter in letters:
        assert broker.find_dead(letter.id) == letter
        assert letter.reason == f"{letter.task_id} was bad"
        assert broker.drop_dead([letter.id]) == 1
    assert broker.dead() == []


# ── claiming over queues ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_message_that_was_in_a_crash_takes_nobody_of_another_queue_along(
    broker: ClusterBroker, apart: tuple[str, str, str]
) -> None:
    first, second, _ = apart
    producer = Producer(broker)
    producer.send(outgoing("suspect", first))
    (lease,) = claim(broker, first)
    assert settle(broker, lease, Requeue(counted=True))
    for turn in range(2):  # each of the queues comes first in its turn
        producer.send(outgoing(f"innocent-{turn}", second))
        taken = claim(broker, first, second)
        assert ids(taken) in (["suspect"], [f"innocent-{turn}"])
        rest = claim(broker, first, second)
        assert len(taken) == len(rest) == 1
        for lease in (*taken, *rest):
            assert lease.deliveries == (2 if lease.message.id == "suspect" else 1)
            assert settle(broker, lease, Requeue() if lease.message.id == "suspect" else Ack())


def test_who_is_parked_is_woken_by_each_of_several_masters(
    broker: ClusterBroker, connect: Callable[..., ClusterBroker], apart: tuple[str, str, str]
) -> None:
    sleeper = connect()
    for queue in apart * 2:
        assert claim(sleeper, *apart, park=True) == []
        Producer(broker).send(outgoing("a", queue))
        began = time.monotonic()
        sleeper.wait(PATIENCE_S)
        assert time.monotonic() - began < PATIENCE_S / 3
        (lease,) = claim(sleeper, *apart)
        assert settle(sleeper, lease)


def test_who_found_work_elsewhere_takes_no_wake_up_away(
    broker: ClusterBroker, connect: Callable[..., ClusterBroker], apart: tuple[str, str, str]
) -> None:
    first, second, _ = apart
    busy, idle = connect(), connect()
    assert claim(idle, first, owner=YOU, park=True) == []
    assert claim(busy, first, second, park=True) == []  # parked last, so it would be rung first
    Producer(broker).send(outgoing("a", second))
    assert ids(claim(busy, first, second, limit=1)) == ["a"]
    Producer(broker).send(outgoing("b", first))
    began = time.monotonic()
    idle.wait(PATIENCE_S)
    assert time.monotonic() - began < PATIENCE_S / 3
    assert ids(claim(idle, first, owner=YOU)) == ["b"]


# ── nodes ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_dead_worker_is_recovered_by_one_that_does_not_serve_its_queue(
    broker: ClusterBroker, connect: Callable[..., ClusterBroker], apart: tuple[str, str, str]
) -> None:
    first, second, _ = apart
    lost = connect()
    lost.register(node(YOU.node, queues=(first,), lease_s=0.5))
    Producer(broker).send(outgoing("a", first))
    claimed = claim(lost, first, owner=YOU)
    broker.register(node(ME.node, queues=(second,), lease_s=0.5))

    def recovered() -> list[str | None]:
        assert broker.renew(ME.node)
        return ids(broker.recover(Owner(ME.node)))

    assert until(recovered, "it is taken over", every_s=0.1) == ["a"]
    assert not settle(lost, claimed[0], owner=YOU)
    assert [state.node.id for state in broker.nodes()] == [ME.node]
    (again,) = broker.held(Owner(ME.node))
    assert settle(broker, again, Requeue(), owner=Owner(ME.node))


def test_a_node_that_one_of_its_queues_has_given_up_is_told_so(
    broker: ClusterBroker, apart: tuple[str, str, str]
) -> None:
    first, second, _ = apart
    broker.register(node(ME.node, queues=(first, second)))
    assert broker.renew(ME.node)
    broker._shard(second).unregister(ME.node)
    assert not broker.renew(ME.node)


def test_a_node_is_shown_once_with_all_that_it_holds(broker: ClusterBroker, apart: tuple[str, str, str]) -> None:
    broker.register(node(ME.node, queues=apart))
    Producer(broker).send(*(outgoing(queue, queue) for queue in apart))
    claim(broker, *apart)
    (state,) = broker.nodes()
    assert (state.node.queues, state.leased, state.alive) == (apart, 3, True)


def test_letters_of_all_queues_are_read_page_by_page(broker: ClusterBroker, apart: tuple[str, str, str]) -> None:
    for queue in apart:
        Producer(broker).send(*(outgoing(f"{queue} {number}", queue) for number in range(4)))
    leases = [lease for queue in apart for lease in claim(broker, queue)]
    # All at once, so that many are of one millisecond.
    assert all(broker.exchange(ME, [Commit(lease.token, Bury("bad")) for lease in leases]).applied)
    everything = broker.dead()
    assert len(everything) == 12
    for size in (1, 5):
        pages, last = [], None
        while page := broker.dead(None, size, last):
            pages += page
            last = page[-1]
        assert pages == everything
    assert broker.trim_dead(3600.0, 3) == broker.dead_trimmed() == 3


def test_there_is_nothing_to_hand_back_to(broker: ClusterBroker) -> None:
    with pytest.raises(BrokerError, match="Celery has no workers on a Redis Cluster"):
        broker.hand_back()


# ── a master is away ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_master_that_is_away_stops_only_its_own_queues(
    own_cluster: RedisCluster, connect: Callable[..., ClusterBroker]
) -> None:
    broker, producer_of = connect(own_cluster.url(), timeout_s=2.0), Producer
    queues = queues_apart(own_cluster)
    dead, alive, _ = queues
    broker.register(node(ME.node, queues=queues))
    producer_of(broker).send(*(outgoing(queue, queue) for queue in queues))
    own_cluster.owner_of(f"{{{dead}}}").kill()
    taken = [lease for _ in range(3) for lease in broker.exchange(ME, [], Claim(queues, 10)).leases]
    assert sorted(lease.queue for lease in taken) == sorted(queues[1:])
    assert [lease.token for lease in broker.held(ME)] == sorted(lease.token for lease in taken)
    assert broker.exchange(ME, [Commit(lease.token, Ack()) for lease in taken], Claim(queues, 10)).applied == (
        True,
        True,
    )
    with pytest.raises(OperationalError):
        broker.exchange(ME, [], Claim((dead,), 10))
    with pytest.raises(OperationalError):
        broker.renew(ME.node)
    producer_of(broker).send(outgoing("more", alive))
    assert broker._shard(alive).renew(ME.node)


def test_a_silent_master_does_not_keep_the_leases_of_other_queues_from_being_renewed(
    own_cluster: RedisCluster, connect: Callable[..., ClusterBroker]
) -> None:
    broker = connect(own_cluster.url())
    silent = own_cluster.owner_of("{queue-0}")
    queues = tuple(f"queue-{number}" for number in range(12))
    reachable = [queue for queue in queues if own_cluster.owner_of(f"{{{queue}}}") is not silent]
    lease_s = 2.0
    broker.register(node(ME.node, queues=queues, lease_s=lease_s))
    silent.pause()
    end = time.monotonic() + 3 * lease_s
    while time.monotonic() < end:
        with pytest.raises(OperationalError):
            broker.renew(ME.node)
        assert all(broker._shard(queue).nodes()[0].alive for queue in reachable)
        time.sleep(lease_s / 6)  # what a worker waits at most
    silent.resume()


def test_a_waiter_that_lost_one_master_hears_of_the_others(
    own_cluster: RedisCluster, connect: Callable[..., ClusterBroker]
) -> None:
    broker = connect(own_cluster.url(), timeout_s=2.0)
    queues = queues_apart(own_cluster)
    dead, alive, _ = queues
    assert claim(broker, *queues, park=True) == []
    broker.wait(0.0)
    own_cluster.owner_of(f"{{{dead}}}").kill()
    broker.wait(0.5)  # without an error
    Producer(connect(own_cluster.url())).send(outgoing("a", alive))
    began = time.monotonic()
    broker.wait(PATIENCE_S)
    assert time.monotonic() - began < PATIENCE_S / 3


def test_the_rights_that_the_documentation_names_are_enough(
    cluster: RedisCluster, connect: Callable[..., ClusterBroker], apart: tuple[str, str, str]
) -> None:
    page = (Path(__file__).parents[5] / "docs" / "redis-cluster.md").read_text()
    (line,) = [line for line in page.splitlines() if line.startswith("ACL SETUSER")]
    for server in cluster.servers:
        assert server.call(*line.split()) == b"+OK"
    broker = connect(cluster.url().replace("://", "://shop:password@"))
    broker.check()
    heard = threading.Event()
    assert claim(broker, *apart, park=True) == []
    Producer(broker).send(outgoing("a", apart[0]))
    broker.wait(PATIENCE_S)
    (lease,) = claim(broker, *apart)
    with broker.result_store().watch("a", heard.set):
        assert commit(broker, Commit(lease.token, Ack(), record("a"), tuple(outgoing(queue, queue) for queue in apart)))
        assert heard.wait(PATIENCE_S)
    assert len(broker.queues()) == 3
    for bad in claim(broker, *apart):
        assert settle(broker, bad, Bury("bad"))
    assert len(broker.dead()) == 3
    for server in cluster.servers:
        server.call("ACL", "DELUSER", "shop")


def test_what_should_be_changed_is_said(own_cluster: RedisCluster, connect: Callable[..., ClusterBroker]) -> None:
    broker = connect(own_cluster.url(), publish_replicas=1)
    for server in own_cluster.servers:
        server.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    found = " ".join(broker.check())
    assert found.count("set maxmemory-policy noeviction") == 1
    assert found.count("set appendonly yes") == 1
    assert found.count("they have no replica") == 1
    assert found.count("publish_replicas=1 fails") == 1
    assert "cluster-require-full-coverage" not in found
    own_cluster.servers[1].call("CONFIG", "SET", "cluster-require-full-coverage", "yes")
    assert "set cluster-require-full-coverage no" in " ".join(broker.check())


def _fails(*_args: object, **_more: object) -> Exchange:
    raise OperationalError("away")
