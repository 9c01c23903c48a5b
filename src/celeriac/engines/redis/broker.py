"""Queues on Redis: Celery's lists, and beside them what makes them safe (lua/common.lua lists the keys).

Every call is one script, hence one step; what a script cannot promise by itself (an answer that never came) the receipts,
tokens and generations do.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
import weakref
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

from celeriac import messages
from celeriac.engines.base import (
    Ack,
    Bury,
    Claim,
    Commit,
    DeadLetter,
    Exchange,
    Keep,
    Lease,
    Node,
    NodeState,
    Owner,
    QueueState,
    Receipt,
    Requeue,
    ResultStore,
)
from celeriac.engines.redis import peers
from celeriac.engines.redis.bell import Bell
from celeriac.engines.redis.client import FIRST_BLOB, Client
from celeriac.engines.redis.results import RedisResults, ttl_ms
from celeriac.exceptions import BrokerError, OperationalError
from celeriac.messages import Malformed, Message, Outgoing

__all__ = ["RedisBroker"]

_MOST_CLAIMED_BYTES = 1_000_000
_HANDED_BACK_TOGETHER = 1000
_TRIMMED_TOGETHER = 1000

_brokers: weakref.WeakSet[RedisBroker] = weakref.WeakSet()


class RedisBroker:
    """The queues of a database."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._results = RedisResults(client)
        self._bell: Bell | None = None
        self._hanging = threading.Lock()
        self._parked: tuple[str, ...] = ()
        self._generation = 1
        self._turn = 0
        _brokers.add(self)

    def describe(self) -> str:
        return str(self.client.address)

    def check(self) -> list[str]:
        from celeriac.engines.redis.checks import warnings

        return warnings(self.client)

    def shares_store_with(self, results: ResultStore) -> bool:
        if not isinstance(results, RedisResults) or results.client.address.server != self.client.address.server:
            return False
        self._results = results
        return True

    def result_store(self) -> RedisResults:
        return self._results

    # ── publish ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def publish(self, outgoing: Sequence[Outgoing], receipt: Receipt) -> None:
        blobs: list[bytes] = []
        rows = [_row(item, blobs) for item in outgoing]
        self.client.script("publish", receipt.producer, receipt.number, rows, blobs=blobs)

    # ── claim and settle ─────────────────────────────────────────────────────────────────────────────────────────────

    def exchange(self, owner: Owner, commits: Sequence[Commit], claim: Claim | None = None) -> Exchange:
        wish = None if claim is None else self._wish(claim)
        results, own = self._results.client.address.database, self.client.address.database
        blobs: list[bytes] = []
        rows = [self._commit(commit, blobs) for commit in commits]
        try:
            applied, leases, next_due_ms = self.client.script(
                "exchange", owner.node, owner.child, self._generation, results, own, rows, wish, blobs=blobs
            )
        except BaseException:
            # It may still be carried out, late; what it would claim then must be refused.
            self._generation += 1
            raise
        if leases:
            self._parked = ()
        elif claim is not None and claim.park:
            self._parked = claim.queues
        return Exchange(
            tuple(bool(done) for done in applied),
            tuple(_lease(row) for row in leases),
            None if next_due_ms < 0 else next_due_ms / 1000,
        )

    def _wish(self, claim: Claim) -> tuple[Any, ...]:
        # Each time another queue comes first, so that a busy one does not starve the others of the same priority.
        self._turn += 1
        turn = self._turn % max(1, len(claim.queues))
        queues = claim.queues[turn:] + claim.queues[:turn]
        bell = self._claim_bell().name if claim.park or self._parked else ""
        return queues, claim.limit, _MOST_CLAIMED_BYTES, bell, claim.park

    def _commit(self, commit: Commit, blobs: list[bytes]) -> tuple[Any, ...]:
        match commit.settle:
            case Ack():
                settle: tuple[Any, ...] = (0, None, None)
            case Requeue(delay_s, counted):
                settle = (1, int(delay_s * 1000), counted)
            case Bury(reason, detail):
                settle = (2, _writable(reason), _writable(detail))
            case Keep(begun):
                settle = (3, begun, None)
        record = commit.record
        document = None
        if record is not None:
            document = (self._results.key(record.task_id), _number(record.body, blobs), ttl_ms(record))
        return (commit.token, *settle, document, [_row(item, blobs) for item in commit.messages])

    def held(self, owner: Owner) -> list[Lease]:
        return [_lease(row) for row in self.client.script("held", owner.node, owner.child, self._generation)]

    # ── wait and wake ────────────────────────────────────────────────────────────────────────────────────────────────

    def wait(self, timeout_s: float) -> None:
        self._claim_bell().wait(timeout_s, self._anything_there if self._parked else None)

    def _anything_there(self) -> bool:
        return bool(self.client.script("glance", self._parked))

    def wake(self) -> None:
        self._claim_bell().wake()

    def _claim_bell(self) -> Bell:
        with self._hanging:
            if self._bell is None:
                self._bell = Bell(self.client.address, self.client.address.key_prefix)
            return self._bell

    # ── nodes ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def register(self, node: Node) -> None:
        about = json.dumps(asdict(node))
        self.client.script("node", "register", node.id, about, int(node.lease_s * 1000), node.queues)

    def renew(self, node_id: str) -> bool:
        return bool(self.client.script("node", "renew", node_id))

    def unregister(self, node_id: str) -> None:
        self.client.script("node", "unregister", node_id)

    def seize(self, lost: Owner, by: Owner) -> list[Lease]:
        rows = self.client.script("seize", lost.node, lost.child, by.node, by.child)
        return [_lease(row) for row in rows or ()]

    def recover(self, by: Owner) -> list[Lease]:
        leases: list[Lease] = []
        while (rows := self.client.script("seize", "", -1, by.node, by.child)) is not None:
            leases += [_lease(row) for row in rows]
        try:
            peers.sweep(self.client)
        except OperationalError:
            raise
        except BrokerError:
            pass  # something else lies under the names that Celery's workers use, so none of them is here
        return leases

    # ── looking, and dead letters ────────────────────────────────────────────────────────────────────────────────────

    def queues(self) -> list[QueueState]:
        rows, leased, dead = self.client.script("look", "queues")
        return [
            QueueState(
                name, ready, leased.count(raw_name), delayed, dead.count(raw_name), _published(oldest), bool(paused)
            )
            for raw_name, ready, delayed, paused, oldest in sorted(rows)
            for name in [raw_name.decode()]
            if ready or delayed or paused or raw_name in leased or raw_name in dead
        ]

    def nodes(self) -> list[NodeState]:
        rows, now_ms = self.client.script("look", "nodes")
        states = []
        for about, expiry, started, renewed, leased in rows:
            facts = json.loads(about)
            node = Node(**{**facts, "queues": tuple(facts["queues"])})
            alive = float(expiry) >= now_ms
            states.append(NodeState(node, alive, int(started) / 1000, int(renewed) / 1000, leased))
        return states

    def peek(self, queue: str, limit: int = 10) -> list[Message | Malformed]:
        return [messages.decode(raw) for raw in self.client.script("look", "peek", queue, limit)]

    def pause(self, queue: str) -> None:
        self.client.script("look", "pause", queue)

    def resume(self, queue: str) -> None:
        self.client.script("look", "resume", queue)

    def purge(self, queue: str) -> int:
        return int(self.client.script("look", "purge", queue))

    def dead(self, queue: str | None = None, limit: int = 100) -> list[DeadLetter]:
        return [_letter(row) for row in self.client.script("letters", "list", limit, queue or "")]

    def find_dead(self, letter_id: int) -> DeadLetter | None:
        rows = self.client.script("letters", "get", letter_id)
        return _letter(rows[0]) if rows else None

    def exhume(self, letter_id: int, outgoing: Outgoing) -> bool:
        blobs: list[bytes] = []
        return bool(self.client.script("letters", "exhume", letter_id, _row(outgoing, blobs), blobs=blobs))

    def drop_dead(self, letter_ids: Collection[int]) -> int:
        return int(self.client.script("letters", "drop", list(letter_ids)))

    def trim_dead(self, max_age_s: float, max_size: int) -> int:
        before_ms = int((time.time() - max_age_s) * 1000)
        trimmed = 0
        while (count := int(self.client.script("letters", "trim", before_ms, max_size, _TRIMMED_TOGETHER))) > 0:
            trimmed += count
        return trimmed

    def hand_back(self, *, dead: bool = True) -> int:
        moved = 0
        while (count := int(self.client.script("handback", _HANDED_BACK_TOGETHER, dead))) > 0:
            moved += count
        if count < 0:
            raise BrokerError(
                f"{self.describe()}: celeriac workers are running; stop them first (`celeriac status` has them)"
            )
        return moved

    def close(self) -> None:
        bell, self._bell = self._bell, None
        if bell is not None:
            bell.close()
        self._results.close()
        self.client.close()

    def _after_fork(self) -> None:
        self._hanging = threading.Lock()
        self._parked = ()
        bell, self._bell = self._bell, None
        if bell is not None:
            bell.close()


def _after_fork() -> None:
    for broker in list(_brokers):
        broker._after_fork()


os.register_at_fork(after_in_child=_after_fork)


def _row(item: Outgoing, blobs: list[bytes]) -> tuple[str, int, int, int]:
    """A message as scripts take it; its bytes go to the blobs."""
    stamps = {"delivery_tag": str(uuid.uuid4()), "timestamp": time.time()}
    due_ms = -1 if item.due is None else int(item.due * 1000)
    return item.queue, item.message.priority, _number(messages.encode(item, stamps), blobs), due_ms


def _number(blob: bytes, blobs: list[bytes]) -> int:
    blobs.append(blob)
    return FIRST_BLOB + len(blobs) - 1


def _lease(row: Sequence[Any]) -> Lease:
    token, queue, deliveries, begun, raw, *rest = row
    previous = rest[0] if rest and rest[0] >= 0 else None
    return Lease(token, queue.decode(), messages.decode(raw), deliveries, bool(begun), previous)


def _writable(text: str) -> str:
    """Half characters, as undecodable file names in a traceback have, are written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _letter(row: Sequence[Any]) -> DeadLetter:
    letter_id, queue, reason, detail, buried_ms, deliveries, raw = row
    message = messages.decode(raw)
    return DeadLetter(
        letter_id,
        queue.decode(),
        message.id,
        message.task,
        reason.decode(),
        detail.decode(),
        buried_ms / 1000,
        deliveries,
        raw,
    )


def _published(raw: bytes) -> float | None:
    if not raw:
        return None
    message = messages.decode(raw)
    stamp = message.properties.get("timestamp") if isinstance(message, Message) else None
    return float(stamp) if isinstance(stamp, (int, float)) else None
