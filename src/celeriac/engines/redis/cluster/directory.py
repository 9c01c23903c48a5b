"""Which queues a cluster has: one set of names, in a slot of its own, beside the queues that it names.

It serves looking and recovery. Work never waits for it: while its master is away a queue is entered later, and workers
enter the queues that they serve.
"""

from __future__ import annotations

from celeriac.engines.redis.cluster.slots import key_slot
from celeriac.engines.redis.cluster.topology import Call, Topology
from celeriac.exceptions import OperationalError

__all__ = ["Directory"]


class Directory:
    """The names, and those that this process has entered or read."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._key = f"{topology.address.key_prefix}celeriac:queues"
        self._entered: set[str] = set()
        self._version = topology.version
        #: All names met so far. Grows only.
        self.known: set[str] = set()

    def enter(self, *queues: str) -> None:
        """Have these listed."""
        if self._version != self._topology.version:
            self._version = self._topology.version
            self._entered = set()  # a failover may have taken back what was entered last
        fresh = [queue for queue in queues if queue not in self._entered]
        if fresh:
            self.known.update(fresh)
            try:
                self._topology.call([Call(key_slot(self._key), ("SADD", self._key, *fresh))])
            except OperationalError:
                return
            self._entered.update(fresh)

    def read(self) -> list[str]:
        """All names, in order; raises `OperationalError`."""
        (names,) = self._topology.call([Call(key_slot(self._key), ("SMEMBERS", self._key))])
        self.known.update(name.decode() for name in names)
        return sorted(self.known)
