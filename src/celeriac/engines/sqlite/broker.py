"""Queues in the store: publishing, claiming, settling, recovering. Every public call is one transaction.

What a transaction makes available is rung after it (doorbell.py), so a waiting child starts within a millisecond or so;
if the ringer dies in between, the waiter's own time-out finds the message.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from msgspec.structs import replace

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
from celeriac.engines.sqlite import claiming, letters, looking, results, revoking, waiting
from celeriac.engines.sqlite.adding import add, prepared
from celeriac.engines.sqlite.claiming import Taken
from celeriac.engines.sqlite.database import Database
from celeriac.engines.sqlite.doorbell import Doorbell, ring, sweep
from celeriac.engines.sqlite.liveness import NodeLocks
from celeriac.engines.sqlite.logwatch import LogWatch
from celeriac.engines.sqlite.queries import statements
from celeriac.engines.sqlite.settling import Settlement
from celeriac.exceptions import BrokerError, OperationalError
from celeriac.messages import Malformed, Message, Outgoing
from celeriac.past import Past

__all__ = ["SQLiteBroker"]

_PUBLISH = statements("publish")
_CLAIM = statements("claim")
_RECOVER = statements("recover")
_INSPECT = statements("inspect")

#: Bounds on what one transaction does, so that other writers wait milliseconds and not seconds.
_MOST_EXPIRED = 1000
#: How long a renewal may go on deleting what has expired; other writers have half of that time.
_LONGEST_EXPIRING_S = 1.0
_RECEIPT_MEMORY_S = 86_400.0


class SQLiteBroker:
    """The queues of a file."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._results = results.SQLiteResults(database)
        self._locks = NodeLocks(lambda: database.side_folder("nodes"))
        self._bell: Doorbell | None = None
        self._hanging = threading.Lock()
        self._parked: str | None = None
        self._log_watch = LogWatch(database)
        database.after_fork(self._after_fork)

    def describe(self) -> str:
        return str(self.database)

    def check(self) -> list[str]:
        return []

    def shares_store_with(self, results: ResultStore) -> bool:
        other = getattr(results, "database", None)
        if not isinstance(other, Database):
            return False
        return other is self.database or (
            other.location.path is not None and other.location.path == self.database.location.path
        )

    def result_store(self) -> results.SQLiteResults:
        return self._results

    # ── publish ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def publish(self, outgoing: Sequence[Outgoing], receipt: Receipt) -> None:
        rows = prepared(outgoing)
        bells: list[str] = []
        # Others may see the messages before they are on the disk: nobody has been told yet that they are published, and
        # what anybody makes of them is synced after them.
        with self.database.write(durable=False) as connection:
            remember = (receipt.producer, receipt.number, time.time())
            if connection.execute(_PUBLISH["remember"], remember).rowcount:
                came: dict[str, int] = {}
                add(connection, rows, came)
                bells = self._waiting(connection, came)
        self._ring(bells)
        self.database.sync()

    def publish_each(self, batches: Iterable[tuple[Sequence[Outgoing], Receipt]]) -> Iterator[None]:
        for outgoing, receipt in batches:
            self.publish(outgoing, receipt)
            yield

    # ── claim and settle ─────────────────────────────────────────────────────────────────────────────────────────────

    def exchange(self, owner: Owner, commits: Sequence[Commit], claim: Claim | None = None) -> Exchange:
        settlement = Settlement(owner, commits)
        came: dict[str, int] = {}
        taken: list[Taken] = []
        next_due_s = None
        # A claim need not outlive a power cut (its worker does not either), so only commits wait for the disk.
        with self.database.write(durable=bool(commits)) as connection:
            applied = settlement.apply(connection, came)
            watching = results.watchers(connection, [record.task_id for record in settlement.records])
            if claim is not None:
                taken, next_due_s = self._claim(connection, owner, claim, came)
            bells = self._waiting(connection, came)
        if taken:
            self._parked = None
        self._ring(bells)
        results.ring_watchers(self.database, watching)
        return Exchange(applied, tuple(one.lease() for one in taken), next_due_s)

    def _claim(
        self, connection: sqlite3.Connection, owner: Owner, claim: Claim, came: dict[str, int]
    ) -> tuple[list[Taken], float | None]:
        if connection.execute(_CLAIM["registered"], (owner.node,)).fetchone() is None:
            return [], None
        now = time.time()
        claiming.promote(connection, now)
        paused = {queue for (queue,) in connection.execute(_CLAIM["paused"])}
        queues = [queue for queue in claim.queues if queue not in paused]
        taken = claiming.take(connection, owner, queues, claim.limit)
        if not taken and claim.park:
            self._parked = self._claim_bell().address
            # Also on paused queues: whoever resumes one wakes who waits for it.
            for queue in claim.queues:
                connection.execute(_CLAIM["park"], (queue, self._parked))
        elif taken:
            if self._parked is not None:
                # Busy from now on: the next publisher must wake someone else.
                connection.execute(_CLAIM["unpark"], (self._parked,))
            # We may have been woken for a message and taken another one. If anything is left, the next waiter is woken
            # in our place, and so on.
            left = {queue for (queue,) in connection.execute(_CLAIM["waited_for"])}
            for queue in left.intersection(queues):
                came[queue] = came.get(queue, 0) + 1
        (next_due,) = connection.execute(_CLAIM["next_due"], (json.dumps(queues),)).fetchone()
        return taken, None if next_due is None else max(0.0, next_due - now)

    def held(self, owner: Owner) -> list[Lease]:
        with self.database.read() as connection:
            rows = connection.execute(_RECOVER["held_by_child"], (owner.node, owner.child)).fetchall()
        return [_lease(*row) for row in rows]

    # ── wait and wake ────────────────────────────────────────────────────────────────────────────────────────────────

    def wait(self, timeout_s: float) -> None:
        self._claim_bell().wait(timeout_s)

    lets_claims_stand = False  # claims are cheap here

    def stand(self, owner: Owner, claim: Claim, within_s: float) -> Exchange | None:
        raise NotImplementedError

    def wake(self) -> None:
        try:
            self._claim_bell().wake()
        except OperationalError:
            pass  # then nobody waits on it either

    def _claim_bell(self) -> Doorbell:
        # Locked: the waiter and who wakes it may both be first, and must not hang up two bells.
        with self._hanging:
            if self._bell is None:
                try:
                    self._bell = Doorbell(self.database.side_folder("bells"))
                except OSError as error:  # a full disk, say
                    raise OperationalError(f"{self.describe()}: no pipe can be made to be woken by: {error}") from error
            return self._bell

    def _waiting(self, connection: sqlite3.Connection, came: Mapping[str, int]) -> list[str]:
        """Take as many waiters off the list as there is work for, so that the next publisher wakes others."""
        chosen: list[str] = []
        for queue, count in came.items():
            for (bell,) in connection.execute(_CLAIM["waiting"], (queue, count)).fetchall():
                connection.execute(_CLAIM["unpark"], (bell,))
                chosen.append(bell)
        return chosen

    def _ring(self, bells: Sequence[str]) -> None:
        if not bells:
            return
        folder = self.database.side_folder("bells")
        if not [bell for bell in bells if not ring(folder, bell)]:
            return
        # Some waiter had died. Its message must not wait for the next poll while others sleep: ring whoever is left.
        with self.database.write(durable=False) as connection:
            ready = {queue: count for queue, count, _ in connection.execute(_INSPECT["ready"])}
            others = self._waiting(connection, ready)
        for bell in others:
            ring(folder, bell)

    # ── nodes ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def register(self, node: Node) -> None:
        now = time.time()
        with self.database.write() as connection:
            with self._lock_errors():
                self._locks.hold(node.id)
            queues = json.dumps(node.queues)
            row = (node.id, node.name, node.host, node.pid, node.pool, node.concurrency, queues, now, now)
            connection.execute(_RECOVER["register"], row)

    def renew(self, node_id: str) -> bool:
        now = time.time()
        with self.database.write(durable=False) as connection:
            known = connection.execute(_RECOVER["renew"], (now, node_id)).rowcount > 0
            connection.execute(_PUBLISH["forget_producers"], (now - _RECEIPT_MEMORY_S,))
        with self._lock_errors():
            self._locks.keep(node_id)
        self._expire()
        self._locks.sweep()
        sweep(self.database.side_folder("bells"))
        self._log_watch.look()
        return known

    def _expire(self) -> None:
        """Delete what has expired, some at a time: as fast as it can expire, or the file would grow for ever."""
        end = time.monotonic() + _LONGEST_EXPIRING_S
        while (began := time.monotonic()) < end:
            with self.database.write(durable=False) as connection:
                gone = results.expire(connection, _MOST_EXPIRED), revoking.expire(connection, _MOST_EXPIRED)
            if max(gone) < _MOST_EXPIRED:
                return
            time.sleep(min(0.05, time.monotonic() - began))

    @contextmanager
    def _lock_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # a full disk, or too many open files
            raise OperationalError(
                f"{self.describe()}: the lock files of its workers cannot be used: {error}"
            ) from error

    def unregister(self, node_id: str) -> None:
        with self.database.write(durable=False) as connection:
            connection.execute(_RECOVER["unregister"], (node_id,))
        self._locks.release(node_id)

    def holders(self, node_id: str) -> frozenset[int]:
        with self.database.read() as connection:
            return frozenset(child for (child,) in connection.execute(_RECOVER["holders"], (node_id,)))

    def seize(self, lost: Owner, by: Owner, only: Collection[int] | None = None) -> list[Lease]:
        with self.database.write(durable=False) as connection:
            rows = connection.execute(_RECOVER["held_by_child"], (lost.node, lost.child)).fetchall()
            if only is not None:
                rows = [row for row in rows if row[0] in only]
            return self._seize(connection, rows, by)

    def recover(self, by: Owner) -> list[Lease]:
        if not self._dead_nodes(by.node):  # looked at without the write lock: nearly always there are none
            return []
        leases: list[Lease] = []
        with self.database.write(durable=False) as connection:
            for node_id in self._dead_among(connection, by.node):
                rows = connection.execute(_RECOVER["held_by_node"], (node_id,)).fetchall()
                leases += self._seize(connection, rows, by)
                connection.execute(_RECOVER["unregister"], (node_id,))
                self._locks.forget(node_id)
        return leases

    def _dead_nodes(self, own: str) -> list[str]:
        with self.database.read() as connection:
            return self._dead_among(connection, own)

    def _dead_among(self, connection: sqlite3.Connection, own: str) -> list[str]:
        known = {row[0] for row in connection.execute(_RECOVER["nodes"])}
        known.update(node_id for (node_id,) in connection.execute(_RECOVER["owners"]))
        with self._lock_errors():
            return [node_id for node_id in sorted(known - {own}) if not self._locks.alive(node_id)]

    def _seize(
        self,
        connection: sqlite3.Connection,
        rows: Sequence[tuple[int, str, int, int, int | None, bytes, str]],
        by: Owner,
    ) -> list[Lease]:
        leases = []
        for token, row in enumerate(rows, claiming.reserve_tokens(connection, len(rows))):
            connection.execute(_RECOVER["seize"], (token, by.node, by.child, row[0]))
            leases.append(replace(_lease(*row), token=token, previous=row[0]))
        return leases

    # ── looking, and dead letters ────────────────────────────────────────────────────────────────────────────────────

    def queues(self) -> list[QueueState]:
        with self.database.read() as connection:
            return looking.queues(connection)

    def nodes(self) -> list[NodeState]:
        with self.database.read() as connection:
            rows = connection.execute(_RECOVER["nodes"]).fetchall()
        return [
            NodeState(
                node=Node(node_id, name, host, pid, pool, concurrency, tuple(json.loads(queues))),
                alive=self._locks.alive(node_id),
                started=started,
                renewed=renewed,
                leased=leased,
            )
            for node_id, name, host, pid, pool, concurrency, queues, started, renewed, leased in rows
        ]

    def peek(self, queue: str, limit: int = 10) -> list[Message | Malformed]:
        with self.database.read() as connection:
            return [messages.decode(raw) for (raw,) in connection.execute(_INSPECT["peek"], (queue, limit)).fetchall()]

    def pause(self, queue: str) -> None:
        with self.database.write() as connection:
            connection.execute(_INSPECT["pause"], (queue,))

    def resume(self, queue: str) -> None:
        with self.database.write() as connection:
            connection.execute(_INSPECT["resume"], (queue,))
            (waiting,) = connection.execute(_INSPECT["ready_in"], (queue,)).fetchone()
            bells = self._waiting(connection, {queue: waiting})
        self._ring(bells)

    def purge(self, queue: str) -> int:
        with self.database.read() as connection:
            (last_id,) = connection.execute(_PUBLISH["last_id"]).fetchone()
        purged, count = 0, -1
        while count != 0:  # what comes meanwhile stays, or this might never end
            with self.database.write(durable=False) as connection:
                count = waiting.purge(connection, queue, last_id)
            purged += count
        self.database.sync()
        return purged

    def dead(self, queue: str | None = None, limit: int = 100, after: DeadLetter | None = None) -> list[DeadLetter]:
        with self.database.read() as connection:
            return letters.listed(connection, queue, limit, after)

    def find_dead(self, letter_id: int) -> DeadLetter | None:
        with self.database.read() as connection:
            return letters.find(connection, letter_id)

    def exhume(self, letter_id: int, outgoing: Outgoing) -> bool:
        rows = prepared([outgoing])
        with self.database.write() as connection:
            if letters.drop(connection, [letter_id]) == 0:
                return False
            came: dict[str, int] = {}
            add(connection, rows, came)
            bells = self._waiting(connection, came)
        self._ring(bells)
        return True

    def drop_dead(self, letter_ids: Collection[int]) -> int:
        with self.database.write() as connection:
            return letters.drop(connection, letter_ids)

    def trim_dead(self, max_age_s: float, max_size: int) -> int:
        before, trimmed, count = time.time() - max_age_s, 0, -1
        while count != 0:
            with self.database.write(durable=False) as connection:
                count = letters.trim(connection, before, max_size)
            trimmed += count
        return trimmed

    def dead_trimmed(self) -> int:
        with self.database.read() as connection:
            return letters.trimmed(connection)

    # ── revoked and delayed ──────────────────────────────────────────────────────────────────────────────────────────

    def revoke(self, revocations: Sequence[Revocation]) -> int:
        with self.database.write() as connection:
            revoking.revoke(connection, revocations)
            return claiming.reserve_tokens(connection, 1)

    def unrevoke(self, task_ids: Collection[str]) -> int:
        with self.database.write() as connection:
            return revoking.unrevoke(connection, task_ids)

    def revocations(self, limit: int = 100) -> list[Revocation]:
        with self.database.read() as connection:
            return revoking.revocations(connection, limit)

    def revoked(self, node_id: str, since: int) -> Revoked:
        with self.database.read() as connection:
            return revoking.held(connection, node_id, since)

    def search(self, task_ids: Collection[str]) -> Iterator[list[Waiting]]:
        return waiting.search(self.database.read, task_ids)

    def withdraw(self, found: Sequence[tuple[Waiting, Record | None]]) -> list[bool]:
        with self.database.write() as connection:
            taken = [waiting.take_out(connection, item) for item, _ in found]
            records = [record for (_, record), done in zip(found, taken, strict=True) if done and record is not None]
            results.store_records(connection, records)
            watching = results.watchers(connection, [record.task_id for record in records])
        results.ring_watchers(self.database, watching)
        return taken

    def delayed(self, queue: str | None = None, limit: int = 100) -> list[Waiting]:
        with self.database.read() as connection:
            return waiting.delayed(connection, queue, limit)

    def hasten(self, delayed: Sequence[tuple[Waiting, Outgoing]]) -> list[bool]:
        with self.database.write() as connection:
            done = [waiting.hasten(connection, *item) for item in delayed]
            came = Counter(item.queue for (item, _), moved in zip(delayed, done, strict=True) if moved)
            bells = self._waiting(connection, came)
        self._ring(bells)
        return done

    def hand_back(self, *, dead: bool = True) -> int:
        raise BrokerError(
            f"{self.describe()} is celeriac's alone: Celery cannot read it, so there is nothing to hand back"
        )

    def sizes(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        bell, self._bell = self._bell, None
        if bell is not None:
            bell.close()
        self._results.close()

    def _after_fork(self) -> None:
        self._locks.abandon()
        self._hanging = threading.Lock()
        self._parked = None
        bell, self._bell = self._bell, None
        if bell is not None:
            bell.abandon()


def _lease(
    token: int, queue: str, deliveries: int, begun: int, previous: int | None, raw: bytes, told: str | None
) -> Lease:
    return Lease(token, queue, messages.decode(raw), deliveries, bool(begun), previous, Past.decode(told))
