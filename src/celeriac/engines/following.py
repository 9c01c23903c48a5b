"""Following a document where the store cannot push it: by being told to read it again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from celeriac.engines.base import ResultStore

__all__ = ["follow"]


@contextmanager
def follow(store: ResultStore, task_id: str) -> Iterator[ReadingFollower]:
    """As `ResultStore.follow`, by its `watch` and `get`."""
    with ExitStack() as watching:
        yield ReadingFollower(store, task_id, watching)


class ReadingFollower:
    """Watches only what is not there yet, as to watch costs more than to read."""

    def __init__(self, store: ResultStore, task_id: str, watching: ExitStack) -> None:
        self._store = store
        self._task_id = task_id
        self._watching = watching
        self._changed: threading.Event | None = None
        self._has_looked = False

    def wait(self, timeout_s: float) -> bytes | None:
        """As `engines.base.Follower.wait`."""
        if not self._has_looked:
            body = self._read()
            self._has_looked = True
            if body is not None:
                return body
        if self._changed is None:
            changed = threading.Event()
            self._watching.enter_context(self._store.watch(self._task_id, changed.set))
            self._changed = changed
            body = self._read()  # it may have come in between
            if body is not None:
                return body
        if not self._changed.wait(timeout_s):
            return None
        self._changed.clear()
        return self._read()

    def _read(self) -> bytes | None:
        return self._store.get([self._task_id]).get(self._task_id)
