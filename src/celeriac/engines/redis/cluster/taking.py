"""What claims in several queues bring together."""

from __future__ import annotations

from collections.abc import Sequence

from celeriac.engines.base import Exchange, Lease
from celeriac.engines.redis.cluster.shard import Shard
from celeriac.messages import Message

__all__ = ["Taken"]


class Taken:
    """The leases of one claim so far."""

    def __init__(self) -> None:
        self.leases: list[Lease] = []
        #: Whether any master has answered.
        self.answered = False
        self.reconnected = False
        self.next_due_s: float | None = None

    def add(self, shard: Shard, answer: Exchange) -> Sequence[Lease]:
        """Take an answer in. Returns what must go back, as its queue numbers it.

        A message that was in a crash is lent alone, so that it takes no innocent one along: it waits for the next claim.
        """
        self.answered = True
        self.reconnected |= answer.reconnected
        if answer.next_due_s is not None:
            self.next_due_s = answer.next_due_s if self.next_due_s is None else min(self.next_due_s, answer.next_due_s)
        if self.leases and any(lease.deliveries > 1 for lease in answer.leases):
            return answer.leases
        self.leases += shard.numbered(answer.leases)
        return ()

    @property
    def is_suspect(self) -> bool:
        """Whether what was taken is to stay alone."""
        return any(lease.deliveries > 1 for lease in self.leases)

    def in_order(self) -> list[Lease]:
        """The most urgent first, as far as they were claimed together."""
        return sorted(self.leases, key=_priority)


def _priority(lease: Lease) -> int:
    return lease.message.priority if isinstance(lease.message, Message) else 0
