"""Single messages that wait, in a cluster: found, taken out, listed and hastened over all queues."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeVar

from celeriac.engines.base import Record, Waiting
from celeriac.engines.redis.cluster.results import ClusterResults
from celeriac.engines.redis.cluster.shard import Shard
from celeriac.exceptions import OperationalError
from celeriac.messages import Outgoing

__all__ = ["WaitingMessages"]

T = TypeVar("T")


class WaitingMessages:
    """The part of the broker that looks for single messages."""

    def __init__(
        self,
        shard: Callable[[str], Shard],
        all_shards: Callable[[], list[Shard]],
        results: ClusterResults,
    ) -> None:
        self._shard = shard
        self._all = all_shards
        self._results = results

    def search(self, task_ids: Collection[str]) -> Iterator[list[Waiting]]:
        """Queue by queue; one whose master is away keeps nobody from looking through the others, and is told of then."""
        trouble: OperationalError | None = None
        for shard in self._all():
            try:
                yield from shard.search(task_ids)
            except OperationalError as error:
                trouble = trouble or error
        if trouble is not None:
            raise trouble

    def withdraw(self, found: Sequence[tuple[Waiting, Record | None]]) -> list[bool]:
        """Store the documents of those that are there, then take them out: so a crash in between can be repeated.

        Who claims one meanwhile is told that it is revoked, and ends it with the same document.
        """
        looks = [
            (number, call) for number, (one, _) in enumerate(found) for call in self._shard(one.queue).looks_for(one)
        ]
        answers = self._results.topology.call([call for _, call in looks])
        there = {number for (number, _), answer in zip(looks, answers, strict=True) if answer is not None}
        self._results.store(
            [record for number, (_, record) in enumerate(found) if number in there and record is not None]
        )
        return self._by_queue(
            [(waiting, waiting) for waiting, _ in found],
            lambda shard, some: shard.withdraw([(waiting, None) for waiting in some]),
        )

    def delayed(self, queue: str | None, limit: int) -> list[Waiting]:
        shards = self._all() if queue is None else [self._shard(queue)]
        found = [shard.delayed(shard.queue, limit) for shard in shards]
        return list(heapq.merge(*found, key=lambda waiting: waiting.due or 0.0))[:limit]

    def hasten(self, delayed: Sequence[tuple[Waiting, Outgoing]]) -> list[bool]:
        return self._by_queue([(pair[0], pair) for pair in delayed], lambda shard, some: shard.hasten(some))

    def _by_queue(
        self, found: Sequence[tuple[Waiting, T]], work: Callable[[Shard, Sequence[T]], list[bool]]
    ) -> list[bool]:
        """Do something to the messages of each queue; what became of each, in the order given."""
        numbers: dict[str, list[int]] = {}
        for number, (waiting, _) in enumerate(found):
            numbers.setdefault(waiting.queue, []).append(number)
        done = [False] * len(found)
        for queue, some in numbers.items():
            for number, was_there in zip(some, work(self._shard(queue), [found[one][1] for one in some]), strict=True):
                done[number] = was_there
        return done
