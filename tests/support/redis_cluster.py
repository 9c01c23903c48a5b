"""A private Redis Cluster of real processes: three masters, each with replicas or none."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from support.redis_server import RedisServer, free_port, words_of
from support.waiting import until

__all__ = ["RedisCluster"]

_SLOTS = 16384
_MASTERS = 3


class RedisCluster:
    """`with RedisCluster(folder) as cluster:`; `cluster.url()` leads to it.

    A master that is silent for `node_timeout_ms` (1000, without replicas 15000) is replaced by its replica, if it has one.
    With `tls_options` the nodes speak TLS too, to each other as well, and call themselves localhost.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        replicas: int = 1,
        node_timeout_ms: int | None = None,
        tls_options: Sequence[str] | None = None,
    ) -> None:
        self.folder = folder
        self._replicas = replicas
        if node_timeout_ms is None:
            # Short for failovers; where nobody could take over, a busy machine is no reason to count a master as dead.
            node_timeout_ms = 1000 if replicas else 15_000
        common = ["--cluster-enabled", "yes", "--cluster-node-timeout", str(node_timeout_ms)]
        common += ["--cluster-require-full-coverage", "no"]
        # A replica that connects has the whole of the data after milliseconds, not after the usual five seconds.
        common += ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", *options]
        #: By these the nodes talk to each other.
        self._bus_ports = [str(free_port()) for _ in range(_MASTERS * (1 + replicas))]
        self.servers = [
            RedisServer(folder / f"server-{number}", *common, "--cluster-port", bus_port)
            for number, bus_port in enumerate(self._bus_ports)
        ]
        #: By these they tell of each other.
        self.ports = [server.port for server in self.servers]
        if tls_options is not None:
            self.ports = [free_port() for _ in self.servers]
            named = ["--cluster-announce-hostname", "localhost", "--cluster-preferred-endpoint-type", "hostname"]
            self.servers = [
                RedisServer(
                    folder / f"server-{number}",
                    *(*common, *named, "--cluster-port", bus_port),
                    *("--tls-port", str(port), "--tls-cluster", "yes", *tls_options),
                )
                for number, (port, bus_port) in enumerate(zip(self.ports, self._bus_ports, strict=True))
            ]

    def url(self) -> str:
        return f"redis+cluster://{','.join(f'127.0.0.1:{server.port}' for server in self.servers)}/"

    def start(self) -> None:
        try:
            self._start()
        except BaseException:
            self.end()
            raise

    def _start(self) -> None:
        for server in self.servers:
            server.start()
        masters, replicas = self.servers[:_MASTERS], self.servers[_MASTERS:]
        share = -(-_SLOTS // _MASTERS)
        for number, master in enumerate(masters):
            last = min(_SLOTS, (number + 1) * share) - 1
            master.call("CLUSTER", "ADDSLOTSRANGE", str(number * share), str(last))
            master.call("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
        for port, bus_port in zip(self.ports[1:], self._bus_ports[1:], strict=True):
            self.servers[0].call("CLUSTER", "MEET", "127.0.0.1", str(port), bus_port)
        for server in self.servers:
            until(lambda server=server: len(self._nodes(server)) == len(self.servers), "all nodes know each other")  # type: ignore[misc]
        for number, replica in enumerate(replicas):
            master_id = self._id(masters[number % _MASTERS])
            until(lambda r=replica, m=master_id: r.call("CLUSTER", "REPLICATE", m) == b"+OK", "it replicates")  # type: ignore[misc]
        for server in self.servers:
            until(lambda server=server: self._serves_all(server), "all slots are served")  # type: ignore[misc]
        self.wait_for_replicas()
        for master in masters:
            # Of its replicas each node must know, or a client that asks for the map now does not hear of them.
            until(lambda m=master: self._tell(m, "CLUSTER", "NODES").count("slave") == len(replicas), "roles are known")  # type: ignore[misc]

    def owner_of(self, key: str) -> RedisServer:
        """The master that serves a key, by the word of a node that lives."""
        slot = int(self._tell(self._alive(), "CLUSTER", "KEYSLOT", key))
        for line in self._tell(self._alive(), "CLUSTER", "NODES").splitlines():
            _, address, flags, _, _, _, _, _, *slots = line.split()
            ranges = [part.split("-") for part in slots if not part.startswith("[")]
            if "master" in flags and any(int(part[0]) <= slot <= int(part[-1]) for part in ranges):
                port = int(address.partition("@")[0].rpartition(":")[2])
                return next(server for server in self.servers if server.port == port)
        raise AssertionError(f"nobody serves {key}")

    def wait_for_another_than(self, old: RedisServer, key: str, timeout_s: float = 30.0) -> float:
        """When (monotonic) another node was seen to serve the key, and the cluster as a whole."""

        def promoted() -> bool:
            alive = self._alive(old)
            return self.owner_of(key) is not old and self._serves_all(alive)

        until(promoted, "a replica is promoted", timeout_s)
        return time.monotonic()

    def wait_for_replicas(self) -> None:
        """Every server is up, and every replica has the data of its master."""
        for server in self.servers:
            until(lambda s=server: self._follows(s), "the replicas have the data")  # type: ignore[misc]

    def _follows(self, server: RedisServer) -> bool:
        facts = self._tell(server, "INFO", "replication")
        return "role:master" in facts or "master_link_status:up" in facts

    def move(self, key: str, to: RedisServer) -> None:
        """Give the slot of a key to another master, as resharding does."""
        moving = self.begin_move(key, to)
        self.move_keys(*moving)
        self.end_move(*moving)

    def begin_move(self, key: str, to: RedisServer | None = None) -> tuple[RedisServer, RedisServer, str]:
        """From whom, to whom, and which slot."""
        source = self.owner_of(key)
        target = to or next(server for server in self.servers[:_MASTERS] if server is not source)
        slot = self._tell(source, "CLUSTER", "KEYSLOT", key)
        self._must(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", self._id(source))
        self._must(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", self._id(target))
        return source, target, slot

    def move_keys(self, source: RedisServer, target: RedisServer, slot: str) -> None:
        while keys := words_of(source.port, "CLUSTER", "GETKEYSINSLOT", slot, "10"):
            self._must(source, "MIGRATE", "127.0.0.1", str(target.port), "", "0", "5000", "KEYS", *keys)

    def end_move(self, source: RedisServer, target: RedisServer, slot: str) -> None:
        for server in (target, source):
            self._must(server, "CLUSTER", "SETSLOT", slot, "NODE", self._id(target))

    def empty(self) -> None:
        """Delete everything."""
        for server in self.servers[:_MASTERS]:
            server.call("FLUSHALL")

    def end(self) -> None:
        """All of it is gone, at once."""
        for server in self.servers:
            server.kill()

    def _serves_all(self, server: RedisServer) -> bool:
        """Whether this server knows of a master for every slot."""
        facts = self._tell(server, "CLUSTER", "INFO")
        return "cluster_state:ok" in facts and f"cluster_slots_ok:{_SLOTS}" in facts

    def _must(self, server: RedisServer, *words: str) -> None:
        answer = words_of(server.port, *words)
        assert answer in (["OK"], ["NOKEY"]), (words, answer)

    def _alive(self, other_than: RedisServer | None = None) -> RedisServer:
        return next(server for server in self.servers if server is not other_than and server.call("PING") == b"+PONG")

    def _tell(self, server: RedisServer, *words: str) -> str:
        return "\n".join(words_of(server.port, *words))

    def _id(self, server: RedisServer) -> str:
        return self._tell(server, "CLUSTER", "MYID")

    def _nodes(self, server: RedisServer) -> list[str]:
        return [line for line in self._tell(server, "CLUSTER", "NODES").splitlines() if "handshake" not in line]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
