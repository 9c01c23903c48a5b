"""Single messages that wait, and what must not run: lua/waiting.lua and lua/revoke.lua, from the side of Python."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from celeriac import messages
from celeriac.engines.base import Revocation, Revoked, RevokedLease, Waiting
from celeriac.engines.redis.client import Client
from celeriac.engines.redis.requests import Blobs, number
from celeriac.messages import Outgoing

__all__ = ["delayed", "hasten", "held", "revocations", "revoke", "search", "withdraw"]

_STEPS = (0, 3, 6, 9)


def revoke(client: Client, revocations: Sequence[Revocation]) -> int:
    """Mark tasks; a fresh token."""
    marks = [(one.task_id, int(one.expires * 1000), one.signal or "") for one in revocations]
    return int(client.script("revoke", "revoke", marks))


def revocations(client: Client, limit: int) -> list[Revocation]:
    """The marks, the first to expire first."""
    rows = client.script("revoke", "list", limit)
    return [Revocation(task_id.decode(), float(expires) / 1000, _signal(name)) for task_id, expires, name in rows]


def held(client: Client, node_id: str, since: int) -> Revoked:
    """What the node holds of what is marked."""
    version, rows = client.script("revoke", "held", node_id, since)
    leases = []
    for child, token, queue, raw, task_id, name in rows:
        message = messages.decode(raw)
        if message.id == task_id.decode():
            leases.append(RevokedLease(child, token, queue.decode(), message, _signal(name)))
    return Revoked(version, tuple(leases))


def _signal(name: bytes) -> str | None:
    return name.decode() or None


def search(client: Client, task_ids: Collection[str]) -> Iterator[list[Waiting]]:
    """Look through what is delayed, and then through what is ready: due messages go that way."""
    ids = list(task_ids)
    wanted = frozenset(ids)

    def chosen(found: list[Waiting]) -> list[Waiting]:
        return [one for one in found if one.message.id in wanted]

    for queue in sorted(name.decode() for name in client.script("waiting", "queues")):
        cursor = b"0"
        while True:
            cursor, members = client.script("waiting", "delayed", queue, cursor.decode(), ids)
            yield chosen([_delayed(queue, *member) for member in members])
            if cursor == b"0":
                break
        for step in _STEPS:
            at = 0
            while at >= 0:
                at, raws = client.script("waiting", "ready", queue, step, at, ids)
                yield chosen([Waiting(queue, messages.decode(raw), raw, None, step) for raw in raws])


def delayed(client: Client, queue: str | None, limit: int) -> list[Waiting]:
    """What is delayed, the soonest first."""
    queues = [queue] if queue is not None else [name.decode() for name in client.script("waiting", "queues")]
    found = [
        [_delayed(name, *member) for member in client.script("waiting", "list", name, limit)] for name in sorted(queues)
    ]
    return list(heapq.merge(*found, key=lambda waiting: waiting.due or 0.0))[:limit]


def _delayed(queue: str, member: bytes, due_ms: bytes) -> Waiting:
    raw = member[1:]
    return Waiting(queue, messages.decode(raw), raw, float(due_ms) / 1000, int(member[:1]))


def withdraw(client: Client, found: Sequence[tuple[Waiting, Any]], results_db: int, blobs: Blobs) -> list[bool]:
    """Take messages out and store documents (as exchange.lua takes them)."""
    rows = [(one.queue, one.place, number(one.raw, blobs), one.due is not None, document) for one, document in found]
    done = client.script("waiting", "withdraw", rows, results_db, client.address.database, blobs=blobs)
    return [bool(number) for number in done]


def hasten(
    client: Client, found: Sequence[tuple[Waiting, Outgoing]], encode: Callable[[Outgoing], bytes]
) -> list[bool]:
    """Make delayed messages ready, at the head of their queues."""
    blobs: Blobs = []
    rows = [(one.queue, one.place, number(one.raw, blobs), number(encode(outgoing), blobs)) for one, outgoing in found]
    return [bool(number) for number in client.script("waiting", "hasten", rows, blobs=blobs)]
