"""Finding the nodes of a cluster, and finding them again."""

from collections.abc import Callable

import pytest

from celeriac.engines.base import Claim, Receipt, Record
from celeriac.engines.redis.cluster import ClusterBroker
from celeriac.exceptions import ConfigError, OperationalError
from conformance.making import ME, Producer, claim, ids, outgoing
from support.redis_cluster import RedisCluster
from support.redis_server import RedisServer, free_port, words_of


def test_one_living_seed_is_enough(connect: Callable[..., ClusterBroker], cluster: RedisCluster) -> None:
    url = f"redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{cluster.servers[1].port}/"
    broker = connect(url)
    Producer(broker).send(*(outgoing(queue, queue) for queue in ("one", "two", "three")))
    assert [state.name for state in broker.queues()] == ["one", "three", "two"]


def test_a_cluster_of_which_nobody_answers_is_said_to_be_away(connect: Callable[..., ClusterBroker]) -> None:
    broker = connect(f"redis+cluster://127.0.0.1:{free_port()}/")
    with pytest.raises(OperationalError, match="no node of the cluster answers"):
        broker.publish([outgoing("a")], Receipt("p", 1))


def test_a_single_server_is_no_cluster(
    connect: Callable[..., ClusterBroker], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with RedisServer(tmp_path_factory.mktemp("single")) as server:
        broker = connect(f"redis+cluster://127.0.0.1:{server.port}/")
        with pytest.raises(ConfigError, match="use redis://"):
            broker.queues()


def test_a_slot_that_has_moved_is_followed(broker: ClusterBroker, cluster: RedisCluster) -> None:
    Producer(broker).send("a")
    results = broker.result_store()
    results.store([Record("a", b"before")])
    for key in ("{q}", "celery-task-meta-a"):
        owner = cluster.owner_of(key)
        cluster.move(key, next(server for server in cluster.servers if server is not owner))
    assert results.get(["a"]) == {"a": b"before"}
    Producer(broker).send("b")
    assert ids(claim(broker)) == ["a", "b"]


def test_nothing_runs_on_half_of_a_slot_that_is_moving(broker: ClusterBroker, cluster: RedisCluster) -> None:
    producer = Producer(broker)
    producer.send("a", "b")
    claimed = claim(broker, limit=1)
    results = broker.result_store()
    results.store([Record("a", b"before")])
    source, target, slot = cluster.begin_move("{q}")
    result_move = cluster.begin_move("celery-task-meta-a")
    cluster.move_keys(*result_move)
    receipt = producer.receipt()
    for moved in range(3):
        with pytest.raises(OperationalError):
            broker.publish([outgoing("c")], receipt)
        with pytest.raises(OperationalError):
            broker.exchange(ME, [], Claim(("q",), 10))
        assert results.get(["a"]) == {"a": b"before"}  # a single key is read where it lies by now
        if moved < 2:
            keys = words_of(source.port, "CLUSTER", "GETKEYSINSLOT", slot, "2")
            words_of(source.port, "MIGRATE", "127.0.0.1", str(target.port), "", "0", "5000", "KEYS", *keys)
    cluster.move_keys(source, target, slot)
    cluster.end_move(source, target, slot)
    cluster.end_move(*result_move)
    broker.publish([outgoing("c")], receipt)
    assert [lease.token for lease in broker.held(ME)] == [lease.token for lease in claimed]
    assert ids(claim(broker)) == ["b", "c"]
