"""Result documents in a cluster: Celery's keys, each in the slot of its name, with its fence beside it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager

from celeriac.engines.base import Record
from celeriac.engines.redis.cluster.slots import key_slot, sibling_tag
from celeriac.engines.redis.cluster.topology import Call, Topology
from celeriac.engines.redis.connection import Connection
from celeriac.engines.redis.requests import ttl_ms
from celeriac.engines.redis.results import META, key_prefix
from celeriac.engines.redis.scripts import FIRST_BLOB, evaluation
from celeriac.engines.redis.subscriber import Follower, Subscriber

__all__ = ["ClusterResults"]


class ClusterResults:
    """The result store of a cluster. A call for several documents is no one step."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self._prefix = key_prefix(topology.address.key_prefix)
        self._subscriber = _AnyNode(topology)

    def describe(self) -> str:
        return str(self.topology.address)

    def _key(self, task_id: str) -> str:
        return f"{self._prefix}{META}{task_id}"

    def _fence_key(self, task_id: str) -> str:
        return f"celeriac:fence:{{{sibling_tag(self._key(task_id))}}}:{self._prefix}{task_id}"

    def store(self, records: Sequence[Record]) -> None:
        newest: dict[str, Record] = {}
        for record in records:
            if record.task_id not in newest or newest[record.task_id].fence <= record.fence:
                newest[record.task_id] = record
        self.topology.call([self._storing(record) for record in newest.values()], confirmed=True)

    def _storing(self, record: Record) -> Call:
        key, fence_key = self._key(record.task_id), self._fence_key(record.task_id)
        row = (key, FIRST_BLOB, ttl_ms(record), fence_key, record.fence)
        return Call(key_slot(key), *evaluation("store", (key, fence_key), "", ([row],), (record.body,)))

    def get(self, task_ids: Collection[str]) -> dict[str, bytes]:
        keys = {task_id: self._key(task_id) for task_id in task_ids}
        bodies = self.topology.call([Call(key_slot(key), ("GET", key)) for key in keys.values()])
        return {task_id: body for task_id, body in zip(keys, bodies, strict=True) if body is not None}

    def watch(self, task_id: str, notify: Callable[[], None]) -> AbstractContextManager[None]:
        return self._subscriber.watch(self._key(task_id), notify)

    def follow(self, task_id: str) -> AbstractContextManager[Follower]:
        return self._subscriber.follow(self._key(task_id))

    def forget(self, task_ids: Collection[str]) -> None:
        keys = [(self._key(task_id), self._fence_key(task_id)) for task_id in task_ids]
        self.topology.call([Call(key_slot(key), ("DEL", key, fence_key)) for key, fence_key in keys])

    def discard(self, task_id: str, body: bytes) -> None:
        key, fence_key = self._key(task_id), self._fence_key(task_id)
        row = (key, fence_key, FIRST_BLOB)
        self.topology.call([Call(key_slot(key), *evaluation("discard", (key, fence_key), "", row, (body,)))])

    def sizes(self) -> dict[str, int]:
        return {"results waited for": len(self._subscriber)}

    def close(self) -> None:
        self._subscriber.close()
        self.topology.close()


class _AnyNode(Subscriber):
    """What is published on one node of a cluster is heard on all of them."""

    def __init__(self, topology: Topology) -> None:
        super().__init__(topology.address)
        self._topology = topology

    def _open(self) -> Connection:
        address = self._topology.some_node()
        try:
            return Connection(address)
        except BaseException:
            self._topology.doubt(address)
            raise

    def _may_look(self, connection: Connection) -> bool:
        return False  # the document lies on another node, most likely
