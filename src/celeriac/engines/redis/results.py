"""Result documents under Celery's keys, pushed to whoever waits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager

from celeriac.engines.base import Record
from celeriac.engines.redis.client import Client
from celeriac.engines.redis.requests import ttl_ms
from celeriac.engines.redis.scripts import FIRST_BLOB
from celeriac.engines.redis.subscriber import Follower, Subscriber

__all__ = ["META", "RedisResults", "key_prefix"]

META = "celery-task-meta-"


class RedisResults:
    """The result store of a database."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._prefix = key_prefix(client.address.key_prefix)
        #: What stands before a task's id in the key of its document.
        self.before_id = f"{self._prefix}{META}"
        self._subscriber = Subscriber(client.address)

    def describe(self) -> str:
        return str(self.client.address)

    def key(self, task_id: str) -> str:
        """Where a task's document lies; also its channel."""
        return self.before_id + task_id

    def _fence_key(self, task_id: str) -> str:
        return f"{self._prefix}celeriac:fence:{task_id}"

    def store(self, records: Sequence[Record]) -> None:
        if records:
            rows = [
                (self.key(record.task_id), number, ttl_ms(record), self._fence_key(record.task_id), record.fence)
                for number, record in enumerate(records, FIRST_BLOB)
            ]
            self.client.script("store", rows, blobs=[record.body for record in records])

    def get(self, task_ids: Collection[str]) -> dict[str, bytes]:
        ids = list(task_ids)
        if not ids:
            return {}
        documents = self.client.call("MGET", *map(self.key, ids))
        return {task_id: body for task_id, body in zip(ids, documents, strict=True) if body is not None}

    def watch(self, task_id: str, notify: Callable[[], None]) -> AbstractContextManager[None]:
        return self._subscriber.watch(self.key(task_id), notify)

    def follow(self, task_id: str) -> AbstractContextManager[Follower]:
        return self._subscriber.follow(self.key(task_id))

    def forget(self, task_ids: Collection[str]) -> None:
        if task_ids:
            self.client.call("DEL", *map(self.key, task_ids), *map(self._fence_key, task_ids))

    def discard(self, task_id: str, body: bytes) -> None:
        self.client.script("discard", self.key(task_id), self._fence_key(task_id), FIRST_BLOB, blobs=[body])

    def sizes(self) -> dict[str, int]:
        return {"results waited for": len(self._subscriber)}

    def close(self) -> None:
        self._subscriber.close()
        self.client.close()


def key_prefix(prefix: str) -> str:
    """Celery puts an underscore between the result store's prefix and the key unless the prefix ends in a separator."""
    return prefix if not prefix or prefix[-1] in ":_-." else f"{prefix}_"
