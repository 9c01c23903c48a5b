"""Three masters for each module, emptied for each test."""

from collections.abc import Callable, Iterator

import pytest

from celeriac.engines.base import EngineOptions
from celeriac.engines.redis.cluster import ClusterBroker, open_broker
from support.redis_cluster import RedisCluster


@pytest.fixture(scope="module")
def module_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with RedisCluster(tmp_path_factory.mktemp("cluster"), replicas=0) as cluster:
        yield cluster


@pytest.fixture
def cluster(module_cluster: RedisCluster) -> RedisCluster:
    """The module's cluster, empty."""
    module_cluster.empty()
    return module_cluster


@pytest.fixture
def connect(cluster: RedisCluster) -> Iterator[Callable[..., ClusterBroker]]:
    """A broker at the cluster, or at another URL; options by name."""
    brokers: list[ClusterBroker] = []

    def connect(url: str | None = None, *, timeout_s: float = 10.0, **options: object) -> ClusterBroker:
        brokers.append(open_broker(url or cluster.url(), EngineOptions("/nowhere", timeout_s, options)))
        return brokers[-1]

    yield connect
    for broker in brokers:
        broker.close()


@pytest.fixture
def broker(connect: Callable[..., ClusterBroker]) -> ClusterBroker:
    return connect()
