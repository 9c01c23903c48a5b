"""One queue of a cluster: its keys begin with `{queue}:`, so all lie in one slot and the single server's scripts run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from msgspec import structs

from celeriac.engines.base import DeadLetter, Lease, Node, Owner, Revocation, Waiting
from celeriac.engines.redis.broker import RedisBroker
from celeriac.engines.redis.client import Client
from celeriac.engines.redis.cluster.numbers import letter_number, slot_and_letter, token_number
from celeriac.engines.redis.cluster.slots import key_slot, slot_tag
from celeriac.engines.redis.cluster.topology import Call, Topology
from celeriac.engines.redis.connection import Connection, Redirected
from celeriac.engines.redis.requests import Blobs, row
from celeriac.engines.redis.scripts import evaluation
from celeriac.exceptions import OperationalError
from celeriac.messages import Outgoing

__all__ = ["Shard", "ShardClient", "tag_of"]

_MOST_REDIRECTIONS = 5
#: Letters of one millisecond are sorted by their numbers as text, the greatest first (lua/letters.lua).
_BEFORE = int("9" * 20)
_MARKS_TOGETHER = 500


def tag_of(queue: str) -> str:
    """A queue's name as it stands in braces, where it may have none of its own."""
    return queue.replace("%", "%25").replace("{", "%7B").replace("}", "%7D") or "%"


class ShardClient(Client):
    """Leads scripts and commands to whichever master serves the slot now. Its connections are the topology's."""

    def __init__(self, topology: Topology, queue: str) -> None:
        own = f"{topology.address.key_prefix}{{{tag_of(queue)}}}:"
        self.slot = key_slot(own)
        shared = f"{topology.address.key_prefix}celeriac:%s:{{{slot_tag(self.slot)}}}"
        super().__init__(
            structs.replace(topology.address, key_prefix=own),
            keys=(shared % "token", shared % "letter", f"{own}celeriac:absent"),
        )
        self._topology = topology
        self._last: tuple[Client, int] | None = None

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        master = self._topology.client(self.slot)
        try:
            with master.connection() as connection:
                now = (master, master.breaks)
                if self._last is not None and self._last != now:
                    self.breaks += 1
                self._last = now
                yield connection
        except OperationalError:
            self._topology.doubt(master.address)
            raise

    def call(self, *command: Any) -> Any:
        for _ in range(_MOST_REDIRECTIONS):
            try:
                return super().call(*command)
            except Redirected as redirected:
                self._follow(redirected)
        raise OperationalError(f"{self._topology.address}: slot {self.slot} is being moved around")

    def script(self, name: str, *request: Any, blobs: Sequence[bytes | str] = (), confirmed: bool = False) -> Any:
        for _ in range(_MOST_REDIRECTIONS):
            try:
                return super().script(name, *request, blobs=blobs, confirmed=confirmed)
            except Redirected as redirected:
                self._follow(redirected)
            except OperationalError:
                self._topology.doubt()
                raise
        raise OperationalError(f"{self._topology.address}: slot {self.slot} is being moved around")

    def confirm(self, name: str, *request: Any, blobs: Sequence[bytes | str] = ()) -> Any:
        """As `script`, and then wait for the replicas that are there."""
        evaluated = evaluation(name, self.keys, self.address.key_prefix, request, blobs)
        return self._topology.call([Call(self.slot, *evaluated)], confirmed=True)[0]

    def _follow(self, redirected: Redirected) -> None:
        if redirected.once:
            raise redirected  # the slot is on its way: nothing runs on one half of it
        self._topology.learn(redirected)


class Shard(RedisBroker):
    """The broker of one queue. Its tokens and letters are numbers within its slot."""

    client: ShardClient

    def __init__(self, topology: Topology, queue: str, bell_name: str) -> None:
        super().__init__(ShardClient(topology, queue))
        self.queue = queue
        self.slot = self.client.slot
        self._ringing = bell_name
        #: Until then (monotonic) it is left alone by claims that can have something elsewhere.
        self.rests_until = 0.0

    def rest_for(self, failed_after_s: float) -> None:
        """One that is silent until a time-out must not hold up others for more than half of the time."""
        self.rests_until = time.monotonic() + failed_after_s

    @property
    def bell_key(self) -> str:
        """The list that is pushed to when a parked claim of ours may go on."""
        return f"{self.client.address.key_prefix}celeriac:bell:{self._ringing}"

    @property
    def parked(self) -> bool:
        """Whether the last claim of ours found nothing and waits."""
        return bool(self._parked)

    def leave(self) -> None:
        """Wait no more, as there is work elsewhere."""
        self._parked = ()
        self.client.script("leave", self.queue, self._ringing)

    def join(self, node: Node) -> None:
        """Make a node known here, whether or not it serves the queue."""
        self._register(node, (self.queue,) if self.queue in node.queues else ())

    def holds(self, owner: Owner, tokens: Sequence[int]) -> list[bool]:
        """For each token whether the owner still has that lease."""
        fields = [self._remembered.field(owner.child, token) for token in tokens]
        return [bool(held) for held in self.client.script("holds", owner.node, fields)]

    def follow(
        self, courier: str, commits: Sequence[tuple[str, int, Sequence[Outgoing]]], settled: Sequence[str]
    ) -> None:
        """Publish what commits of other queues have caused: (name, token, messages). A name seen before adds nothing."""
        blobs: Blobs = []
        rows = [(name, floor, [row(item, blobs) for item in messages]) for name, floor, messages in commits]
        self.client.confirm("follow", courier, rows, list(settled), blobs=blobs)

    def raise_tokens(self, publisher: str, above: int) -> None:
        """Give no token from here on that is not above this one."""
        name = "revocation"
        self.follow(publisher, [(name, above, ())], [name])  # forgotten first, so that it counts each time

    def count_marks(self, after_ms: int) -> int:
        """How many revocations hold until after this time."""
        return int(self.client.call("ZCOUNT", self._marks, after_ms, "+inf"))

    def marks(self) -> Iterator[list[Revocation]]:
        """All revocations in pieces, for there may be very many; one that stays meanwhile is in one of them."""
        cursor = b"0"
        while True:
            cursor, flat = self.client.call("ZSCAN", self._marks, cursor, "COUNT", _MARKS_TOGETHER)
            if flat:
                ids, ends = flat[::2], flat[1::2]
                signals = self.client.call("HMGET", f"{self._marks}:signals", *ids)
                yield [
                    Revocation(task_id.decode(), float(end) / 1000, signal.decode() if signal else None)
                    for task_id, end, signal in zip(ids, ends, signals, strict=True)
                ]
            if cursor == b"0":
                return

    def still_marked(self, task_ids: Sequence[str]) -> set[str]:
        """Those of these that are revoked."""
        scores = self.client.call("ZMSCORE", self._marks, *task_ids)
        return {task_id for task_id, score in zip(task_ids, scores, strict=True) if score is not None}

    @property
    def _marks(self) -> str:
        return f"{self.client.address.key_prefix}celeriac:revoked"

    def looks_for(self, waiting: Waiting) -> list[Call]:
        """Commands of which one has an answer if the message is in its place; delayed ones may be ready by now."""
        prefix = self.client.address.key_prefix
        ready = f"{prefix}{self.queue}" + (f"\x06\x16{waiting.place}" if waiting.place else "")
        looks = [Call(self.slot, ("LPOS", ready, waiting.raw))]
        if waiting.due is not None:
            member = b"%d%s" % (waiting.place, waiting.raw)
            looks.append(Call(self.slot, ("ZSCORE", f"{prefix}celeriac:{{{self.queue}}}:delayed", member)))
        return looks

    def numbered(self, leases: Sequence[Lease]) -> list[Lease]:
        """Leases under the numbers by which the whole cluster knows them."""
        return [
            structs.replace(
                lease,
                token=token_number(self.slot, lease.token),
                previous=None if lease.previous is None else token_number(self.slot, lease.previous),
            )
            for lease in leases
        ]

    def letters(self, queue: str | None, limit: int, after: DeadLetter | None) -> list[DeadLetter]:
        """Dead letters as `Broker.dead` tells them; those of one millisecond come in the order of their queues."""
        if after is not None:
            # A position in this queue: that of the letter, or before or behind all others of its millisecond.
            own = (
                slot_and_letter(after.id)[1]
                if after.queue == self.queue
                else _BEFORE
                if self.queue > after.queue
                else 0
            )
            after = structs.replace(after, id=own)
        return [self.lettered(letter) for letter in self.dead(queue, limit, after)]

    def lettered(self, letter: DeadLetter) -> DeadLetter:
        """The same for a dead letter."""
        return structs.replace(letter, id=letter_number(self.slot, letter.id))

    def _bell_name(self) -> str:
        return self._ringing

    def _sweep(self) -> None:
        """No worker of Celery's can use a cluster."""
