"""Settling in a cluster: to which queue each commit belongs, and what is done elsewhere before it is settled there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec.structs import replace

from celeriac import messages
from celeriac.engines.base import Commit, Exchange, Keep, Owner, Record
from celeriac.engines.redis.cluster.directory import Directory
from celeriac.engines.redis.cluster.numbers import slot_and_token
from celeriac.engines.redis.cluster.results import ClusterResults
from celeriac.engines.redis.cluster.shard import Shard
from celeriac.messages import Outgoing

__all__ = ["Plan", "Settling"]


class _Placed(msgspec.Struct):
    """A commit in its queue, where it goes by another number."""

    index: int
    shard: Shard
    token: int
    commit: Commit
    foreign: dict[str, list[Outgoing]] = msgspec.field(default_factory=dict)

    @property
    def reaches_out(self) -> bool:
        return self.commit.record is not None or bool(self.foreign)

    @property
    def name(self) -> str:
        """The same whenever this commit is repeated."""
        first = next(iter(self.foreign.values()))[0]
        return f"{self.commit.token}:{first.message.id}"

    @property
    def local(self) -> Commit:
        """What is left to do in its own queue."""
        stay = tuple(item for item in self.commit.messages if item.queue == self.shard.queue)
        return Commit(self.token, self.commit.settle, None, stay)


class Plan:
    """The commits of an exchange by queue, and what has become of each."""

    def __init__(self, count: int) -> None:
        self.applied = [False] * count
        self.followed: list[_Placed] = []
        self._by_queue: dict[str, list[_Placed]] = {}

    def add(self, placed: _Placed) -> None:
        self._by_queue.setdefault(placed.shard.queue, []).append(placed)

    @property
    def queues(self) -> list[str]:
        """Those with commits that are not settled yet."""
        return list(self._by_queue)

    def of(self, queue: str) -> list[Commit]:
        """The commits of a queue that are not settled yet."""
        return [placed.local for placed in self._by_queue.get(queue, ())]

    def note(self, queue: str, answer: Exchange) -> None:
        """Those of this queue have been settled."""
        for placed, applied in zip(self._by_queue.pop(queue, ()), answer.applied, strict=True):
            self.applied[placed.index] = applied


class Settling:
    """Does what goes before settling. `publisher` names this process to the queues that its commits publish into."""

    def __init__(
        self,
        publisher: str,
        shard: Callable[[str], Shard],
        shards_at: Callable[[int], list[Shard]],
        directory: Directory,
        results: ClusterResults,
    ) -> None:
        self._publisher = publisher
        self._shard = shard
        self._shards_at = shards_at
        self._directory = directory
        self._results = results
        #: By queue, the names of what has been published there for commits that are settled by now.
        self._settled: dict[str, list[str]] = {}

    def prepare(self, owner: Owner, commits: Sequence[Commit]) -> Plan:
        """Publish what goes into other queues and store the documents, of commits whose leases are held."""
        plan = Plan(len(commits))
        placed = self._held(owner, self._place(commits))
        out = [item for item in placed if item.reaches_out]
        for item in out:
            for outgoing in item.commit.messages:
                messages.encode(outgoing, {})  # what cannot be written must fail before anything is
        plan.followed = [item for item in out if item.foreign]
        self._publish(plan.followed)
        self._results.store([_fenced(item.commit.record, item.commit.token) for item in out if item.commit.record])
        for item in placed:
            plan.add(item)
        return plan

    def finish(self, plan: Plan) -> None:
        """All of it is settled: the queues may forget what they have published for it."""
        for item in plan.followed:
            for queue in item.foreign:
                self._settled.setdefault(queue, []).append(item.name)

    def _place(self, commits: Sequence[Commit]) -> list[list[_Placed]]:
        """For each commit the queues that it may belong to: one, where no two queues share a slot."""
        places = []
        ended: set[int] = set()
        for index, commit in enumerate(commits):
            if commit.token in ended:
                continue  # it is settled by one before it
            if not isinstance(commit.settle, Keep):
                ended.add(commit.token)
            slot, token = slot_and_token(commit.token)
            places.append(
                [_Placed(index, shard, token, commit, _foreign(commit, shard)) for shard in self._shards_at(slot)]
            )
        return places

    def _held(self, owner: Owner, places: list[list[_Placed]]) -> list[_Placed]:
        """Each in its place, without those whose lease is known to be gone."""
        questions: dict[str, list[_Placed]] = {}
        for place in places:
            if len(place) > 1 or any(item.reaches_out for item in place):
                for item in place:
                    questions.setdefault(item.shard.queue, []).append(item)
        gone: set[int] = set()
        for items in questions.values():
            held = items[0].shard.holds(owner, [item.token for item in items])
            gone.update(id(item) for item, is_held in zip(items, held, strict=True) if not is_held)
        return [item for place in places for item in place if id(item) not in gone]

    def _publish(self, followed: Iterable[_Placed]) -> None:
        by_queue: dict[str, list[tuple[str, int, Sequence[Outgoing]]]] = {}
        for item in followed:
            for queue, outgoing in item.foreign.items():
                by_queue.setdefault(queue, []).append((item.name, item.token, outgoing))
        self._directory.enter(*by_queue)
        for queue, rows in by_queue.items():
            settled = self._settled.get(queue, [])[:]
            self._shard(queue).follow(self._publisher, rows, settled)
            del self._settled.get(queue, [])[: len(settled)]


def _foreign(commit: Commit, shard: Shard) -> dict[str, list[Outgoing]]:
    foreign: dict[str, list[Outgoing]] = {}
    for item in commit.messages:
        if item.queue != shard.queue:
            foreign.setdefault(item.queue, []).append(item)
    return foreign


def _fenced(record: Record, token: int) -> Record:
    return replace(record, fence=token)
