"""The engines under test. A new one is a class with these members and a line in `ENGINES`.

What the contracts do not offer, and the suite needs, stands here: bytes put into a queue as a stranger would, and the end
of a process.
"""

from __future__ import annotations

import shutil
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from celeriac.engines import open_broker
from celeriac.engines.base import Broker, EngineOptions, ResultStore
from celeriac.engines.redis import RedisBroker
from celeriac.engines.redis.client import Client
from celeriac.engines.redis.cluster import ClusterBroker
from celeriac.engines.sqlite import SQLiteBroker
from celeriac.testing.faults import FaultyBroker
from conformance.peer import Peer
from support.redis_cluster import RedisCluster
from support.redis_server import RedisServer

__all__ = ["ENGINES", "Engine", "Other"]


class Other(Protocol):
    """Someone else at the same store: another process where the engine serves several."""

    broker: Broker
    results: ResultStore

    def kill(self) -> None:
        """It is gone, without a word."""

    def close(self) -> None:
        """It ends in order."""


class Engine(Protocol):
    """One store of an engine, empty at first."""

    url: str
    folder: str
    #: Several processes share the store, and it outlives `close`.
    lasting: bool

    def connect(self) -> Broker:
        """A broker of its own for this process."""

    def other(self) -> Other:
        """Someone else."""

    def put_raw(self, queue: str, raw: bytes) -> None:
        """Put bytes at the end of a queue that no `publish` would put there."""

    def close(self) -> None:
        """End all of it."""


class SQLiteFile:
    """A file; others are processes."""

    lasting = True
    url = "sqlite:///store.db"

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self._opened: list[Broker | Other] = []

    def connect(self) -> Broker:
        broker = open_broker(self.url, EngineOptions(self.folder, timeout_s=10.0))
        self._opened.append(broker)
        return broker

    def other(self) -> Other:
        peer = Peer(self.url, self.folder)
        self._opened.append(peer)
        return peer

    def put_raw(self, queue: str, raw: bytes) -> None:
        broker = self.connect()
        assert isinstance(broker, SQLiteBroker)
        _put_raw(broker, queue, raw)

    def close(self) -> None:
        for opened in self._opened:
            opened.close()


class SQLiteMemory:
    """Memory; others are brokers of the same process on the same memory."""

    lasting = False
    url = ":memory:"

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        first = open_broker(self.url, EngineOptions(self.folder, timeout_s=10.0))
        assert isinstance(first, SQLiteBroker)
        self._database = first.database
        self._opened = [first]

    def connect(self) -> Broker:
        return self._connect()

    def _connect(self) -> SQLiteBroker:
        broker = SQLiteBroker(self._database)
        self._opened.append(broker)
        return broker

    def other(self) -> Other:
        return _Roommate(self._connect())

    def put_raw(self, queue: str, raw: bytes) -> None:
        _put_raw(self._opened[0], queue, raw)

    def close(self) -> None:
        for broker in self._opened:
            broker.close()


class _Roommate:
    def __init__(self, broker: SQLiteBroker) -> None:
        self.broker = broker
        self.results = broker.result_store()

    def kill(self) -> None:
        self.broker._locks.abandon()  # what the kernel does when a process ends

    def close(self) -> None:
        """The store is closed by the engine: closing a store in memory empties it."""


class Wrapped(SQLiteMemory):
    """Memory behind the fault-injecting wrapper with no faults: it must not change anything."""

    def connect(self) -> Broker:
        return FaultyBroker(super().connect())


def _put_raw(broker: SQLiteBroker, queue: str, raw: bytes) -> None:
    with broker.database.write() as connection:
        number = connection.execute("INSERT INTO messages (raw) VALUES (?)", (raw,)).lastrowid
        connection.execute("INSERT INTO ready VALUES (?, 0, ?, 0, 0, 1.0)", (queue, number))


class Redis:
    """A database of a private server; others are processes."""

    lasting = True

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.server = RedisServer(folder / "redis")
        self.server.start()
        self.url = self.server.url()
        self._opened: list[Broker | Other] = []

    def connect(self) -> Broker:
        broker = open_broker(self.url, EngineOptions(self.folder, timeout_s=10.0))
        self._opened.append(broker)
        return broker

    def other(self) -> Other:
        other = _Tenant(self)
        self._opened.append(other)
        return other

    def put_raw(self, queue: str, raw: bytes) -> None:
        self.client.call("LPUSH", queue, raw)

    @cached_property
    def client(self) -> Client:
        broker = self.connect()
        assert isinstance(broker, RedisBroker)
        return broker.client

    def close(self) -> None:
        for opened in self._opened:
            opened.close()
        self.server.kill()


class _Tenant(Peer):
    """A process whose leases run out in the moment it is killed: the suite asks what then, not when."""

    def __init__(self, engine: Redis | Cluster) -> None:
        self._engine = engine
        self._nodes: set[str] = set()
        super().__init__(engine.url, engine.folder)

    def send(self, request: tuple[str, Any, tuple[Any, ...]]) -> None:
        if request[1] == "register":
            self._nodes.add(request[2][0].id)
        super().send(request)

    def kill(self) -> None:
        super().kill()
        self._expire()

    def _expire(self) -> None:
        assert isinstance(self._engine, Redis)
        _expire(self._engine.client, "", self._nodes)


def _expire(client: Client, prefix: str, nodes: set[str]) -> None:
    """The leases of these nodes have run out, and all others have been alive for a lease, let us say."""
    for name in client.call("ZRANGE", f"{prefix}celeriac:nodes", 0, -1):
        node = name.decode()
        if node in nodes:
            client.call("ZADD", f"{prefix}celeriac:nodes", 1, node)
        else:
            client.call("HSET", f"{prefix}celeriac:node:{node}", "steady", 0)


class Cluster:
    """Three masters, started once for all tests of a process; others are processes."""

    lasting = True
    _servers: RedisCluster | None = None

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        if Cluster._servers is None:
            Cluster._servers = RedisCluster(Path(tempfile.mkdtemp(prefix="celeriac-cluster-")), replicas=0)
            Cluster._servers.start()
        self.url = Cluster._servers.url()
        self._opened: list[Broker | Other] = []

    @classmethod
    def end(cls) -> None:
        """End the servers, after the last test."""
        servers, cls._servers = cls._servers, None
        if servers is not None:
            servers.end()
            shutil.rmtree(servers.folder)

    def connect(self) -> Broker:
        broker = open_broker(self.url, EngineOptions(self.folder, timeout_s=10.0))
        self._opened.append(broker)
        return broker

    def other(self) -> Other:
        other = _ClusterTenant(self)
        self._opened.append(other)
        return other

    def put_raw(self, queue: str, raw: bytes) -> None:
        shard = self.broker._shard(queue)
        self.broker._directory.enter(queue)
        shard.client.call("LPUSH", f"{shard.client.address.key_prefix}{queue}", raw)

    @cached_property
    def broker(self) -> ClusterBroker:
        broker = self.connect()
        assert isinstance(broker, ClusterBroker)
        return broker

    def close(self) -> None:
        for opened in self._opened:
            opened.close()
        assert Cluster._servers is not None
        Cluster._servers.empty()


class _ClusterTenant(_Tenant):
    """The same in a cluster, where each queue knows its nodes."""

    _engine: Cluster  # type: ignore[assignment]

    def _expire(self) -> None:
        for shard in self._engine.broker._all():
            _expire(shard.client, shard.client.address.key_prefix, self._nodes)


ENGINES = {
    "sqlite-file": SQLiteFile,
    "sqlite-memory": SQLiteMemory,
    "wrapped-memory": Wrapped,
    "redis": Redis,
    "redis-cluster": Cluster,
}
