"""Queues in a Redis Cluster: each is a small broker of its own in one slot (shard.py), and calls are fanned out over them.

Within a queue everything holds that holds on a single server. What goes over several is no one step, and is done in an order
in which a crash repeats and never loses: what a commit publishes into other queues, once for each commit; then its document;
then its acknowledgement with what stays in its queue. Of the leases that a commit needs it is asked first whether they are
still held, so a stale owner changes something only in the moment between the question and the answer; its documents even
then never replace a newer run's.

A master that is away stops its own queues. The others are served, unless finished work waits to be settled there.
"""

from __future__ import annotations

import heapq
import os
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TypeVar

from msgspec.structs import replace

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
    Requeue,
    ResultStore,
    Revocation,
    Revoked,
    Waiting,
)
from celeriac.engines.redis.cluster import numbers
from celeriac.engines.redis.cluster.bell import Bells
from celeriac.engines.redis.cluster.directory import Directory
from celeriac.engines.redis.cluster.results import ClusterResults
from celeriac.engines.redis.cluster.revoking import Revocations
from celeriac.engines.redis.cluster.settling import Plan, Settling
from celeriac.engines.redis.cluster.shard import Shard
from celeriac.engines.redis.cluster.slots import Endpoint
from celeriac.engines.redis.cluster.taking import Taken
from celeriac.engines.redis.cluster.topology import Topology
from celeriac.engines.redis.cluster.waiting import WaitingMessages
from celeriac.exceptions import BrokerError, OperationalError, PartlyPublished
from celeriac.messages import Malformed, Message, Outgoing

__all__ = ["ClusterBroker"]

T = TypeVar("T")

#: Who takes longer to fail does not refuse, but says nothing.
_SILENT_S = 0.2
#: Of a lease, what a silent master may take from the renewals of the others.
_PATIENCE_SHARE = 0.25

_brokers: weakref.WeakSet[ClusterBroker] = weakref.WeakSet()


class ClusterBroker:
    """The queues of a cluster."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._results = ClusterResults(topology)
        self._directory = Directory(topology)
        self._start()
        _brokers.add(self)

    def _start(self) -> None:
        #: Names this process to the queues that its commits publish into, and its bells.
        self._id = uuid.uuid4().hex
        self._shards: dict[str, Shard] = {}
        #: The same by slot, and how many names were known then.
        self._by_slot: dict[int, list[Shard]] = {}
        self._sorted = 0
        self._making = threading.Lock()
        self._bells: Bells | None = None
        #: The queues in which each node may hold something, as far as this process had a part in it.
        self._joined: dict[str, set[str]] = {}
        self._nodes: dict[str, Node] = {}
        self._settling = Settling(self._id, self._shard, self._shards_at, self._directory, self._results)
        self._waiting = WaitingMessages(self._shard, self._all, self._results)
        self._revocations = Revocations(self._topology, self._id, self._shard, self._all, self._attempt)
        self._turn = 0

    def describe(self) -> str:
        return str(self._topology.address)

    def check(self) -> list[str]:
        from celeriac.engines.redis.cluster.checks import warnings

        return warnings(self._topology)

    def shares_store_with(self, results: ResultStore) -> bool:
        if not isinstance(results, ClusterResults):
            return False
        mine, its = self._topology.address, results.topology.address
        # Under another prefix lie other documents.
        return mine.key_prefix == its.key_prefix and not set(its.seeds).isdisjoint(mine.seeds)

    def result_store(self) -> ClusterResults:
        return self._results

    # ── queues and their shards ──────────────────────────────────────────────────────────────────────────────────────

    def _shard(self, queue: str) -> Shard:
        shard = self._shards.get(queue)
        if shard is None:
            with self._making:
                shard = self._shards.setdefault(queue, Shard(self._topology, queue, self._id))
        return shard

    def _shards_at(self, slot: int) -> list[Shard]:
        """The queues of a slot: one, or none where somebody made a number up, or rarely more."""
        if slot not in self._by_slot or len(self._directory.known) != self._sorted:
            self._sort(self._directory.known)
        if slot not in self._by_slot:
            self._sort(self._directory.read())
        return self._by_slot.get(slot, [])

    def _sort(self, queues: Collection[str]) -> None:
        by_slot: dict[int, list[Shard]] = {}
        for shard in map(self._shard, sorted(queues)):
            by_slot.setdefault(shard.slot, []).append(shard)
        self._by_slot, self._sorted = by_slot, len(queues)

    def _all(self) -> list[Shard]:
        return [self._shard(queue) for queue in self._directory.read()]

    def _of(self, node_id: str) -> list[Shard]:
        """Where a node may hold something."""
        joined = self._joined.get(node_id)
        return self._all() if joined is None else [self._shard(queue) for queue in sorted(joined)]

    def _each(self, shards: Iterable[Shard], work: Callable[[Shard], T]) -> list[T]:
        """Do something in each; the error of one keeps it from no other, and is raised at the end."""
        done, trouble = self._attempt(shards, work)
        if trouble is not None:
            raise trouble
        return done

    def _attempt(self, shards: Iterable[Shard], work: Callable[[Shard], T]) -> tuple[list[T], OperationalError | None]:
        """What was done in each that could be reached, and the first error.

        Those that have failed come last, and a master that is silent is waited for once.
        """
        trouble: OperationalError | None = None
        done: list[T] = []
        silent: set[Endpoint | None] = set()
        for shard in sorted(shards, key=lambda shard: shard.rests_until):
            if self._topology.owner(shard.slot) in silent:
                continue
            began = time.monotonic()
            try:
                done.append(work(shard))
            except OperationalError as error:
                trouble = trouble or error
                shard.rest_for(time.monotonic() - began)
                if time.monotonic() - began > _SILENT_S:
                    silent.add(self._topology.owner(shard.slot))
        return done, trouble

    # ── publish ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def publish(self, outgoing: Sequence[Outgoing], receipt: Receipt) -> None:
        """Add the messages, those of each queue all or none. Repeated with its receipt it adds what was not added."""
        by_queue: dict[str, list[Outgoing]] = {}
        for item in outgoing:
            by_queue.setdefault(item.queue, []).append(item)
        self._directory.enter(*by_queue)
        for number, (shard, items) in enumerate([(self._shard(queue), items) for queue, items in by_queue.items()]):
            try:
                shard.publish(items, receipt)
            except OperationalError:
                raise
            except BrokerError as error:
                raise (PartlyPublished(str(error)) if number else error) from None

    def publish_each(self, batches: Iterable[tuple[Sequence[Outgoing], Receipt]]) -> Iterator[None]:
        for outgoing, receipt in batches:
            self.publish(outgoing, receipt)
            yield

    # ── claim and settle ─────────────────────────────────────────────────────────────────────────────────────────────

    def exchange(self, owner: Owner, commits: Sequence[Commit], claim: Claim | None = None) -> Exchange:
        """Settle, then claim queue after queue, each time from another one first, until there are enough.

        Priorities order what is claimed together, and what lies in one queue.
        """
        queues = () if claim is None else self._in_turn(owner, claim.queues)
        plan = self._settling.prepare(owner, commits)
        for queue in plan.queues:
            if queue not in queues[:1]:
                plan.note(queue, self._shard(queue).exchange(owner, plan.of(queue)))
        taken = Taken()
        if claim is not None:
            # To wait in all of them and then be found busy costs more than to look first.
            waits = claim.park and len(queues) == 1
            self._claim(owner, replace(claim, park=waits), queues, taken, plan)
            if claim.park and not waits and not taken.leases:
                self._claim(owner, claim, queues, taken, plan)
            if taken.leases:
                self._leave(queues)
        self._settling.finish(plan)
        return Exchange(tuple(plan.applied), tuple(taken.in_order()), taken.next_due_s, taken.reconnected)

    def _in_turn(self, owner: Owner, queues: tuple[str, ...]) -> tuple[str, ...]:
        self._joined.setdefault(owner.node, set()).update(queues)
        self._directory.enter(*queues)
        self._turn += 1
        turn = self._turn % max(1, len(queues))
        return queues[turn:] + queues[:turn]

    def _claim(self, owner: Owner, claim: Claim, queues: tuple[str, ...], taken: Taken, plan: Plan) -> None:
        """Claim in each until there are enough. The first takes its commits along, which is one round trip less."""
        trouble: OperationalError | None = None
        for queue in queues:
            commits = plan.of(queue)
            left = claim.limit - len(taken.leases)
            if left <= 0 and not commits:
                break
            shard = self._shard(queue)
            began = time.monotonic()
            if began < shard.rests_until and not commits and len(queues) > 1:
                continue
            try:
                answer = shard.exchange(owner, commits, replace(claim, queues=(queue,), limit=left))
            except OperationalError as error:
                if commits:
                    raise
                shard.rest_for(time.monotonic() - began)
                trouble = error
                continue
            plan.note(queue, answer)
            back = taken.add(shard, answer)
            if back:
                shard.exchange(owner, [Commit(lease.token, Requeue()) for lease in back])
            if taken.is_suspect or back:
                break
        if trouble is not None and not taken.answered:
            raise trouble

    def _leave(self, queues: Iterable[str]) -> None:
        """Who has found work waits nowhere any more."""
        for shard in map(self._shard, queues):
            if shard.parked:
                try:
                    shard.leave()
                except OperationalError:
                    pass  # whoever else waits there looks by himself

    def held(self, owner: Owner) -> list[Lease]:
        """Everything leased to the owner, but for queues whose master is away: a claim there tells when it is back."""
        leases: list[Lease] = []
        shards = self._of(owner.node)
        trouble: OperationalError | None = None
        answered = not shards
        for shard in shards:
            try:
                leases += shard.numbered(shard.held(owner))
                answered = True
            except OperationalError as error:
                shard.client.breaks += 1
                trouble = error
        if trouble is not None and not answered:
            raise trouble
        return sorted(leases, key=lambda lease: lease.token)

    # ── wait and wake ────────────────────────────────────────────────────────────────────────────────────────────────

    def wait(self, timeout_s: float) -> None:
        self._all_bells().wait(timeout_s, [shard for shard in list(self._shards.values()) if shard.parked])

    lets_claims_stand = False  # what lies on several servers is not claimed by one

    def stand(self, owner: Owner, claim: Claim, within_s: float) -> Exchange | None:
        raise NotImplementedError

    def wake(self) -> None:
        self._all_bells().wake()

    def _all_bells(self) -> Bells:
        with self._making:
            if self._bells is None:
                self._bells = Bells(self._topology)
            return self._bells

    # ── nodes ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def register(self, node: Node) -> None:
        self._topology.hurry(node.lease_s * _PATIENCE_SHARE)
        self._directory.enter(*node.queues)
        self._nodes[node.id] = node
        self._joined.setdefault(node.id, set()).update(node.queues)
        # Before it can claim anything.
        self._revocations.bring_to(self._of(node.id))
        self._each(self._of(node.id), lambda shard: shard.join(node))

    def renew(self, node_id: str) -> bool:
        """Say that the node lives; False as soon as one of its queues does not know it (any more)."""
        known = self._each(self._of(node_id), lambda shard: shard.renew(node_id))
        return all(known) if node_id in self._nodes else any(known)

    def unregister(self, node_id: str) -> None:
        self._each(self._of(node_id), lambda shard: shard.unregister(node_id))
        self._nodes.pop(node_id, None)
        self._joined.pop(node_id, None)

    def holders(self, node_id: str) -> frozenset[int]:
        return frozenset().union(*self._each(self._of(node_id), lambda shard: shard.holders(node_id)))

    def seize(self, lost: Owner, by: Owner, only: Collection[int] | None = None) -> list[Lease]:
        wanted = None if only is None else [numbers.slot_and_token(token) for token in only]

        def seize(shard: Shard) -> list[Lease]:
            tokens = None if wanted is None else [token for slot, token in wanted if slot == shard.slot]
            return [] if tokens == [] else shard.numbered(shard.seize(lost, by, tokens))

        taken = self._each(self._of(lost.node), seize)
        return sorted((lease for leases in taken for lease in leases), key=lambda lease: lease.token)

    def recover(self, by: Owner) -> list[Lease]:
        """As the contract says, queue by queue.

        From a dead node in a queue that we do not serve only after a lease of our own there: we introduce ourselves first.
        """
        taken = self._each(self._of(by.node), lambda shard: shard.numbered(shard.recover(by)))
        if by.node in self._nodes:
            self._join_the_bereaved(self._nodes[by.node])
        return sorted((lease for leases in taken for lease in leases), key=lambda lease: lease.token)

    def _join_the_bereaved(self, node: Node) -> None:
        joined = self._joined[node.id]

        def look(shard: Shard) -> None:
            if shard.queue not in joined and not all(state.alive for state in shard.nodes()):
                shard.join(node)
                joined.add(shard.queue)

        self._each(self._all(), look)

    def nodes(self) -> list[NodeState]:
        merged: dict[str, NodeState] = {}
        for states in self._each(self._all(), lambda shard: shard.nodes()):
            for state in states:
                other = merged.get(state.node.id)
                merged[state.node.id] = state if other is None else _merge(other, state)
        return list(merged.values())

    # ── looking, and dead letters ────────────────────────────────────────────────────────────────────────────────────

    def queues(self) -> list[QueueState]:
        found = self._each(self._all(), lambda shard: [state for state in shard.queues() if state.name == shard.queue])
        return sorted((state for states in found for state in states), key=lambda state: state.name)

    def peek(self, queue: str, limit: int = 10) -> list[Message | Malformed]:
        return self._shard(queue).peek(queue, limit)

    def pause(self, queue: str) -> None:
        self._directory.enter(queue)
        self._shard(queue).pause(queue)

    def resume(self, queue: str) -> None:
        self._shard(queue).resume(queue)

    def purge(self, queue: str) -> int:
        return self._shard(queue).purge(queue)

    def dead(self, queue: str | None = None, limit: int = 100, after: DeadLetter | None = None) -> list[DeadLetter]:
        shards = self._all() if queue is None else [self._shard(queue)]
        found = [shard.letters(queue, limit, after) for shard in shards]
        return list(heapq.merge(*found, key=lambda letter: (-letter.buried, letter.queue)))[:limit]

    def find_dead(self, letter_id: int) -> DeadLetter | None:
        slot, number = numbers.slot_and_letter(letter_id)
        found = [shard.lettered(letter) for shard in self._shards_at(slot) if (letter := shard.find_dead(number))]
        return found[0] if found else None

    def exhume(self, letter_id: int, outgoing: Outgoing) -> bool:
        letter = self.find_dead(letter_id)
        if letter is None:
            return False
        shard = self._shard(letter.queue)
        number = numbers.slot_and_letter(letter_id)[1]
        if outgoing.queue == letter.queue:
            return shard.exhume(number, outgoing)
        # Two slots: it is published first, once however often that is repeated, and then deleted.
        self.publish([outgoing], Receipt(f"letter-{letter_id}", 1))
        return bool(shard.drop_dead([number]))

    def drop_dead(self, letter_ids: Collection[int]) -> int:
        dropped = 0
        for slot, number in map(numbers.slot_and_letter, letter_ids):
            dropped += sum(shard.drop_dead([number]) for shard in self._shards_at(slot))
        return dropped

    def trim_dead(self, max_age_s: float, max_size: int) -> int:
        """As the contract says; `max_size` is that of each queue."""
        return sum(self._each(self._all(), lambda shard: shard.trim_dead(max_age_s, max_size)))

    def dead_trimmed(self) -> int:
        return sum(self._each(self._all(), lambda shard: shard.dead_trimmed()))

    # ── revoked and delayed ──────────────────────────────────────────────────────────────────────────────────────────

    def revoke(self, revocations: Sequence[Revocation]) -> int:
        return self._revocations.revoke(revocations)

    def unrevoke(self, task_ids: Collection[str]) -> int:
        return self._revocations.unrevoke(task_ids)

    def revocations(self, limit: int = 100) -> list[Revocation]:
        return self._revocations.revocations(limit)

    def revoked(self, node_id: str, since: int) -> Revoked:
        return self._revocations.held(node_id, since, self._of(node_id))

    def search(self, task_ids: Collection[str]) -> Iterator[list[Waiting]]:
        return self._waiting.search(task_ids)

    def withdraw(self, found: Sequence[tuple[Waiting, Record | None]]) -> list[bool]:
        """Store the documents, then take the messages out."""
        return self._waiting.withdraw(found)

    def delayed(self, queue: str | None = None, limit: int = 100) -> list[Waiting]:
        return self._waiting.delayed(queue, limit)

    def hasten(self, delayed: Sequence[tuple[Waiting, Outgoing]]) -> list[bool]:
        return self._waiting.hasten(delayed)

    def hand_back(self, *, dead: bool = True) -> int:
        raise BrokerError(f"{self.describe()}: Celery has no workers on a Redis Cluster that anything could go back to")

    def sizes(self) -> dict[str, int]:
        return {"queues met": len(self._directory.known)}

    def close(self) -> None:
        bells, self._bells = self._bells, None
        if bells is not None:
            bells.close()
        self._results.close()
        self._topology.close()

    def _after_fork(self) -> None:
        bells = self._bells
        self._start()
        if bells is not None:
            bells.close()


def _merge(one: NodeState, other: NodeState) -> NodeState:
    """A node as two of its queues know it."""
    return NodeState(
        one.node,
        one.alive or other.alive,
        min(one.started, other.started),
        max(one.renewed, other.renewed),
        one.leased + other.leased,
    )


def _after_fork() -> None:
    for broker in list(_brokers):
        broker._after_fork()


os.register_at_fork(after_in_child=_after_fork)
