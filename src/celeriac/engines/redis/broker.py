"""Queues on Redis: Celery's lists, and beside them what makes them safe (lua/common.lua lists the keys).

Every call is one script, hence one step; what a script cannot promise by itself (an answer that never came) the receipts,
tokens and generations do.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
import uuid
import weakref
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, replace
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
    Record,
    Requeue,
    ResultStore,
    Revocation,
    Revoked,
    Waiting,
)
from celeriac.engines.redis import peers, waiting
from celeriac.engines.redis.bell import Bell
from celeriac.engines.redis.client import FIRST_BLOB, Client
from celeriac.engines.redis.results import RedisResults, ttl_ms
from celeriac.exceptions import BrokerError, OperationalError
from celeriac.messages import Malformed, Message, Outgoing
from celeriac.past import Past

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
        self._breaks = client.breaks
        #: The highest token given to this process: none at or below it may come again (lua/common.lua, new_tokens).
        self._seen_token = 0
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
        self.client.script("publish", receipt.producer, receipt.number, rows, blobs=blobs, confirmed=True)

    # ── claim and settle ─────────────────────────────────────────────────────────────────────────────────────────────

    def exchange(self, owner: Owner, commits: Sequence[Commit], claim: Claim | None = None) -> Exchange:
        wish = None if claim is None else self._wish(claim)
        results, own = self._results.client.address.database, self.client.address.database
        blobs: list[bytes] = []
        rows = [self._commit(commit, blobs) for commit in commits]
        try:
            applied, rows_lent, next_due_ms, revoked = self.client.script(
                "exchange",
                owner.node,
                owner.child,
                self._generation,
                self._seen_token,
                results,
                own,
                rows,
                wish,
                blobs=blobs,
            )
        except BaseException:
            # It may still be carried out, late; what it would claim then must be refused.
            self._generation += 1
            raise
        leases = self._leases(rows_lent)
        if revoked:
            marked = {token: task_id.decode() for token, task_id in revoked}
            leases = [replace(one, revoked=marked.get(one.token) == one.message.id is not None) for one in leases]
        reconnected = claim is not None and self._breaks != self.client.breaks
        if reconnected:
            self._breaks = self.client.breaks
        if leases:
            self._parked = ()
        elif claim is not None and claim.park:
            self._parked = claim.queues
        return Exchange(
            tuple(bool(done) for done in applied),
            tuple(leases),
            None if next_due_ms < 0 else next_due_ms / 1000,
            reconnected=reconnected,
        )

    def _wish(self, claim: Claim) -> tuple[Any, ...]:
        # Each time another queue comes first, so that a busy one does not starve the others of the same priority.
        self._turn += 1
        turn = self._turn % max(1, len(claim.queues))
        queues = claim.queues[turn:] + claim.queues[:turn]
        bell = self._bell_name() if claim.park or self._parked else ""
        return queues, claim.limit, _MOST_CLAIMED_BYTES, bell, claim.park

    def _commit(self, commit: Commit, blobs: list[bytes]) -> tuple[Any, ...]:
        past = None
        match commit.settle:
            case Ack():
                settle: tuple[Any, ...] = (0, None, None)
            case Requeue(delay_s, counted, told):
                settle = (1, math.ceil(delay_s * 1000), counted)
                past = None if told is None else told.encode()
            case Bury(reason, detail):
                settle = (2, _writable(reason), _writable(detail))
            case Keep(begun):
                settle = (3, begun, None)
        following = [_row(item, blobs) for item in commit.messages]
        return commit.token, *settle, self._document(commit.record, blobs), following, past

    def _document(self, record: Record | None, blobs: list[bytes]) -> tuple[str, int, int] | None:
        if record is None:
            return None
        return self._results.key(record.task_id), _number(record.body, blobs), ttl_ms(record)

    def held(self, owner: Owner) -> list[Lease]:
        return self._leases(self.client.script("held", owner.node, owner.child, self._generation))

    def _leases(self, rows: Sequence[Any]) -> list[Lease]:
        leases = [_lease(row) for row in rows]
        self._seen_token = max([self._seen_token, *(lease.token for lease in leases)])
        return leases

    # ── wait and wake ────────────────────────────────────────────────────────────────────────────────────────────────

    def wait(self, timeout_s: float) -> None:
        self._claim_bell().wait(timeout_s, self._anything_there if self._parked else None)

    def _anything_there(self) -> bool:
        return bool(self.client.script("glance", self._parked))

    def wake(self) -> None:
        self._claim_bell().wake()

    def _bell_name(self) -> str:
        return self._claim_bell().name

    def _claim_bell(self) -> Bell:
        with self._hanging:
            if self._bell is None:
                self._bell = Bell(self.client.address, self.client.address.key_prefix)
            return self._bell

    # ── nodes ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def register(self, node: Node) -> None:
        self._register(node, node.queues)

    def _register(self, node: Node, served: tuple[str, ...]) -> None:
        about = json.dumps(asdict(node))
        self.client.script("node", "register", node.id, about, int(node.lease_s * 1000), served)

    def renew(self, node_id: str) -> bool:
        return bool(self.client.script("node", "renew", node_id))

    def unregister(self, node_id: str) -> None:
        self.client.script("node", "unregister", node_id)

    def holders(self, node_id: str) -> frozenset[int]:
        return frozenset(self.client.script("holders", node_id))

    def seize(self, lost: Owner, by: Owner, only: Collection[int] | None = None) -> list[Lease]:
        tokens = None if only is None else list(only)
        rows = self.client.script("seize", lost.node, lost.child, by.node, by.child, self._seen_token, tokens)
        return self._leases(rows or ())

    def recover(self, by: Owner) -> list[Lease]:
        leases: list[Lease] = []
        while (rows := self.client.script("seize", "", -1, by.node, by.child, self._seen_token, None)) is not None:
            leases += self._leases(rows)
        self._sweep()
        return leases

    def _sweep(self) -> None:
        """Put back what dead Celery workers have left."""
        try:
            peers.sweep(self.client)
        except OperationalError:
            raise
        except BrokerError:
            pass  # something else lies under the names that Celery's workers use, so none of them is here

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

    def dead(self, queue: str | None = None, limit: int = 100, after: DeadLetter | None = None) -> list[DeadLetter]:
        position = None if after is None else (round(after.buried * 1000), str(after.id))
        return [_letter(row) for row in self.client.script("letters", "list", limit, queue or "", position)]

    def find_dead(self, letter_id: int) -> DeadLetter | None:
        rows = self.client.script("letters", "get", letter_id)
        return _letter(rows[0]) if rows else None

    def exhume(self, letter_id: int, outgoing: Outgoing) -> bool:
        blobs: list[bytes] = []
        return bool(self.client.script("letters", "exhume", letter_id, _row(outgoing, blobs), blobs=blobs))

    def drop_dead(self, letter_ids: Collection[int]) -> int:
        return int(self.client.script("letters", "drop", list(letter_ids)))

    def trim_dead(self, max_age_s: float, max_size: int) -> int:
        max_age_ms, trimmed = int(max_age_s * 1000), 0
        while (count := int(self.client.script("letters", "trim", max_age_ms, max_size, _TRIMMED_TOGETHER))) > 0:
            trimmed += count
        return trimmed

    # ── revoked and delayed ──────────────────────────────────────────────────────────────────────────────────────────

    def revoke(self, revocations: Sequence[Revocation]) -> int:
        return waiting.revoke(self.client, revocations)

    def unrevoke(self, task_ids: Collection[str]) -> int:
        return int(self.client.script("revoke", "unrevoke", list(task_ids)))

    def revocations(self, limit: int = 100) -> list[Revocation]:
        return waiting.revocations(self.client, limit)

    def revoked(self, node_id: str, since: int) -> Revoked:
        return waiting.held(self.client, node_id, since)

    def search(self, task_ids: Collection[str]) -> Iterator[list[Waiting]]:
        return waiting.search(self.client, task_ids)

    def withdraw(self, found: Sequence[tuple[Waiting, Record | None]]) -> list[bool]:
        blobs: list[bytes] = []
        rows = [(one, self._document(record, blobs)) for one, record in found]
        return waiting.withdraw(self.client, rows, self._results.client.address.database, blobs)

    def delayed(self, queue: str | None = None, limit: int = 100) -> list[Waiting]:
        return waiting.delayed(self.client, queue, limit)

    def hasten(self, delayed: Sequence[tuple[Waiting, Outgoing]]) -> list[bool]:
        return waiting.hasten(self.client, delayed, _encoded)

    def dead_trimmed(self) -> int:
        return int(self.client.script("letters", "trimmed"))

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
    due_ms = -1 if item.due is None else math.ceil(item.due * 1000)
    return item.queue, item.message.priority, _number(_encoded(item), blobs), due_ms


def _encoded(item: Outgoing) -> bytes:
    return messages.encode(item, {"delivery_tag": str(uuid.uuid4()), "timestamp": time.time()})


def _number(blob: bytes, blobs: list[bytes]) -> int:
    blobs.append(blob)
    return FIRST_BLOB + len(blobs) - 1


def _lease(row: Sequence[Any]) -> Lease:
    token, queue, deliveries, begun, raw, past, *rest = row
    previous = rest[0] if rest and rest[0] >= 0 else None
    return Lease(token, queue.decode(), messages.decode(raw), deliveries, bool(begun), previous, Past.decode(past))


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
