"""What scripts are asked: the rows of a request, and beside them the blobs, which rows name by their numbers."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from celeriac import messages
from celeriac.engines.base import Ack, Bury, Commit, Keep, Receipt, Record, Requeue
from celeriac.engines.redis.remembered import Remembered
from celeriac.engines.redis.scripts import FIRST_BLOB
from celeriac.ids import new_tag
from celeriac.messages import Outgoing

__all__ = ["Blobs", "Settling", "due_ms", "encoded", "number", "publication", "row", "ttl_ms"]

#: Bytes, and names, that follow a packed request as arguments of their own.
Blobs = list[bytes | str]


class Settling:
    """The commits of one child as exchange.lua takes them. A document's key is `key_prefix` and the task's id."""

    def __init__(self, child: int, remembered: Remembered, key_prefix: str, commits: Sequence[Commit]) -> None:
        self.blobs: Blobs = []
        self.rows: list[Sequence[Any]] = []
        self._child = child
        self._remembered = remembered
        self._key_prefix = key_prefix
        self._add(commits)

    def _add(self, commits: Sequence[Commit]) -> None:
        # What only acknowledges, as nearly all do, costs no row of its own: those that follow each other share one.
        run: list[Any] | None = None
        kept_s: float | None = None
        child, key_prefix, blobs, last_field = self._child, self._key_prefix, self.blobs, self._remembered.last_field
        for commit in commits:
            record = commit.record
            if type(commit.settle) is not Ack or commit.messages:
                self.rows.append(self._row(commit))
                run = None
            elif record is None:
                if run is None or run[3] is not None:
                    run = self._run(None)
                run[1] += 1
                blobs.append(last_field(child, commit.token))
            else:
                if run is None or run[3] is None or record.ttl_s != kept_s:
                    kept_s = record.ttl_s
                    run = self._run(ttl_ms(record))
                run[1] += 1
                blobs += (last_field(child, commit.token), key_prefix + record.task_id, record.body)

    def _run(self, kept_ms: int | None) -> list[Any]:
        run = [0, 0, FIRST_BLOB + len(self.blobs), kept_ms]
        self.rows.append(run)
        return run

    def _row(self, commit: Commit) -> tuple[Any, ...]:
        past, token = None, commit.token
        field = self._remembered.field(self._child, token)
        match commit.settle:
            case Ack():
                settle: tuple[Any, ...] = (4, field, None, None)
            case Requeue(delay_s, counted, told):
                settle = (1, field, math.ceil(delay_s * 1000), counted)
                past = None if told is None else told.encode()
            case Bury(reason, detail):
                settle = (2, field, _writable(reason), _writable(detail))
            case Keep(begun):
                settle = (3, field, begun, None)
        if not isinstance(commit.settle, Keep):
            self._remembered.forget(token)
        elif commit.settle.begun:
            self._remembered.begun(token)
        following = [row(item, self.blobs) for item in commit.messages]
        return *settle, document(commit.record, self._key_prefix, self.blobs), following, past


def publication(outgoing: Sequence[Outgoing], receipt: Receipt) -> tuple[str, tuple[Any, ...], list[bytes]]:
    """The script that adds these messages, its request, and the blobs. Messages that go the same way are one run."""
    blobs: list[bytes] = []
    runs: list[tuple[str, int, int, int, int]] = []
    first = FIRST_BLOB
    for (queue, priority, due), items in itertools.groupby(outgoing, _way):
        blobs += map(encoded, items)
        last = FIRST_BLOB + len(blobs) - 1
        runs.append((queue, priority, first, last, due_ms(due)))
        first = last + 1
    if len(runs) == 1:
        queue, priority, _, last, _ = runs[0]
        if due is None:
            return "publish", (receipt.producer, str(receipt.number), queue, priority, last), blobs
    return "spread", (receipt.producer, str(receipt.number), runs), blobs


_way = attrgetter("queue", "message.priority", "due")


def document(record: Record | None, key_prefix: str, blobs: Blobs) -> tuple[str, int, int] | None:
    """A document, which goes to the blobs, as scripts take it."""
    if record is None:
        return None
    return key_prefix + record.task_id, number(record.body, blobs), ttl_ms(record)


def row(item: Outgoing, blobs: Blobs) -> tuple[str, int, int, int]:
    """A message as scripts take it; its bytes go to the blobs."""
    return item.queue, item.message.priority, number(encoded(item), blobs), due_ms(item.due)


def due_ms(due: float | None) -> int:
    """A due time as scripts take it."""
    return -1 if due is None else math.ceil(due * 1000)


def encoded(item: Outgoing) -> bytes:
    """A message as it lies in a queue."""
    return messages.encode(item, {"delivery_tag": new_tag(), "timestamp": time.time()})


def number(blob: bytes, blobs: Blobs) -> int:
    """The number of what is added to the blobs."""
    blobs.append(blob)
    return FIRST_BLOB + len(blobs) - 1


def ttl_ms(record: Record) -> int:
    """The time to live as scripts take it."""
    return -1 if record.ttl_s is None else max(1, int(record.ttl_s * 1000))


def _writable(text: str) -> str:
    """Half characters, as undecodable file names in a traceback have, are written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
