"""Queues on Redis: Celery's lists, and beside them what makes them safe (lua/parts/keys.lua lists the keys).

Every call is one script, hence one step; what a script cannot promise by itself (an answer that never came) the receipts,
tokens and generations do.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
import weakref
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import hiredis
from msgspec.structs import asdict, replace

from celeriac import messages
from celeriac.engines.base import (
    Claim,
    Commit,
    DeadLetter,
    Exchange,
    Lease,
    Node,
    NodeState,
    Owner,
    QueueState,
    Receipt,
    Record,
    ResultStore,
    Revocation,
    Revoked,
    Waiting,
)
from celeriac.engines.redis import peers, waiting
from celeriac.engines.redis.bell import Bell
from celeriac.engines.redis.client import Client
from celeriac.engines.redis.remembered import Remembered
from celeriac.engines.redis.requests import Blobs, Settling, document, encoded, publication, row
from celeriac.engines.redis.results import RedisResults
from celeriac.engines.redis.scripts import evaluation
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
        self._remembered = Remembered()
        self._breaks = client.breaks
        #: Whose claim stands; and whose has been given up, so that what it got is to be found by `held`.
        self._standing: Owner | None = None
        self._gave_up: Owner | None = None
        #: The highest token given to this process: none at or below it may come again (lua/parts/tokens.lua).
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
        script, request, blobs = publication(outgoing, receipt)
        self.client.script(script, *request, blobs=blobs, confirmed=True)

    def publish_each(self, batches: Iterable[tuple[Sequence[Outgoing], Receipt]]) -> Iterator[None]:
        for _ in self.client.scripts(itertools.starmap(publication, batches), confirmed=True):
            yield

    # ── claim and settle ─────────────────────────────────────────────────────────────────────────────────────────────

    def exchange(self, owner: Owner, commits: Sequence[Commit], claim: Claim | None = None) -> Exchange:
        self._give_up_standing_claim(owner)
        settling = Settling(owner.child, self._remembered, self._results.before_id, commits)
        try:
            reply = self.client.script("exchange", *self._request(owner, settling.rows, claim), blobs=settling.blobs)
        except BaseException:
            # It may still be carried out, late; what it would claim then must be refused.
            self._generation += 1
            raise
        return self._answer(owner, reply, claim, len(commits))

    def _request(self, owner: Owner, rows: Sequence[Any], claim: Claim | None) -> tuple[Any, ...]:
        return (
            owner.node,
            owner.child,
            self._generation,
            self._seen_token,
            self._results.client.address.database,
            self.client.address.database,
            rows,
            None if claim is None else self._wish(claim),
        )

    def _answer(self, owner: Owner, reply: Any, claim: Claim | None, commits: int = 0) -> Exchange:
        refused, next_due_ms, revoked, first_token, alike, raws = reply
        leases = self._lent(first_token, alike, raws)
        if revoked:
            marked = {token: task_id.decode() for token, task_id in revoked}
            leases = [replace(one, revoked=marked.get(one.token) == one.message.id is not None) for one in leases]
        reconnected = claim is not None and self._breaks != self.client.breaks
        if reconnected:
            self._breaks = self.client.breaks
        if self._gave_up == owner:
            reconnected, self._gave_up = True, None
        if leases:
            self._parked = ()
        elif claim is not None and claim.park:
            self._parked = claim.queues
        return Exchange(
            _applied(commits, refused),
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

    def held(self, owner: Owner) -> list[Lease]:
        return self._leases(self.client.script("held", owner.node, owner.child, self._generation))

    def _leases(self, rows: Sequence[Any]) -> list[Lease]:
        """Leases of which each may differ from the others."""
        return [lease for token, *tail_and_past, raw in rows for lease in self._lent(token, [1, *tail_and_past], [raw])]

    def _lent(self, token: int, alike: Sequence[Any], raws: Sequence[bytes]) -> list[Lease]:
        """Leases whose tokens follow each other, told in runs: how many, with which tail, and with which past."""
        decode, leases, begin = messages.decode, [], 0
        for count, tail, told in zip(alike[::3], alike[1::3], alike[2::3], strict=True):
            tokens, past = range(token + begin, token + begin + count), Past.decode(told)
            queue, deliveries, begun, previous = self._remembered.note(tokens, tail.decode())
            leases += [
                Lease(token, queue, decode(raw), deliveries, begun, previous, past)
                for token, raw in zip(tokens, raws[begin : begin + count], strict=True)
            ]
            begin += count
        self._seen_token = max(self._seen_token, token + len(raws) - 1)
        return leases

    # ── wait and wake ────────────────────────────────────────────────────────────────────────────────────────────────

    def wait(self, timeout_s: float) -> None:
        bell = self._claim_bell()
        if self._parked:
            bell.wait(timeout_s, self._anything_there)
        else:
            bell.wait_for_wake(timeout_s)  # nobody rings

    lets_claims_stand = True

    def stand(self, owner: Owner, claim: Claim, within_s: float) -> Exchange | None:
        command, _ = evaluation(
            "exchange", self.client.keys, self.client.address.key_prefix, self._request(owner, (), claim), ()
        )
        self._standing = owner
        try:
            reply = self._claim_bell().stand(command, within_s, self._ring_if_anything_there)
        except BaseException:
            self._generation += 1
            self._standing, self._gave_up = None, owner
            raise
        if reply is None:
            return None
        self._standing = None
        if isinstance(reply, hiredis.ReplyError):
            # It was not carried out: the server has forgotten its scripts, say. The usual way will show.
            return Exchange(reconnected=True)
        return self._answer(owner, reply, claim)

    def _give_up_standing_claim(self, owner: Owner) -> None:
        """Before anything else is claimed: what it would take from now on is refused, what it has taken is `held`."""
        if self._standing == owner:
            self._claim_bell().give_up_claim()
            self._generation += 1
            self._standing, self._gave_up = None, owner

    def _ring_if_anything_there(self) -> bool:
        if self._anything_there():
            self.client.call("LPUSH", self._claim_bell().key, "1")
        return False

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
        blobs: Blobs = []
        return bool(self.client.script("letters", "exhume", letter_id, row(outgoing, blobs), blobs=blobs))

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
        blobs: Blobs = []
        rows = [(one, document(record, self._results.before_id, blobs)) for one, record in found]
        return waiting.withdraw(self.client, rows, self._results.client.address.database, blobs)

    def delayed(self, queue: str | None = None, limit: int = 100) -> list[Waiting]:
        return waiting.delayed(self.client, queue, limit)

    def hasten(self, delayed: Sequence[tuple[Waiting, Outgoing]]) -> list[bool]:
        return waiting.hasten(self.client, delayed, encoded)

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

    def sizes(self) -> dict[str, int]:
        return {"leases remembered": len(self._remembered), "idle connections": self.client.idle}

    def close(self) -> None:
        bell, self._bell = self._bell, None
        if bell is not None:
            bell.close()
        self._results.close()
        self.client.close()

    def _after_fork(self) -> None:
        self._hanging = threading.Lock()
        self._parked = ()
        self._standing = self._gave_up = None
        bell, self._bell = self._bell, None
        if bell is not None:
            bell.close()


def _after_fork() -> None:
    for broker in list(_brokers):
        broker._after_fork()


os.register_at_fork(after_in_child=_after_fork)


def _applied(count: int, refused: Sequence[int]) -> tuple[bool, ...]:
    if not refused:
        return (True,) * count
    return tuple(number not in refused for number in range(1, count + 1))


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
