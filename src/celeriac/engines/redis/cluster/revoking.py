"""What must not run, in a cluster: every queue has the revocations beside its messages, as its claims ask them.

One more slot, the home, has all of them too: for the list, for queues that come later, and for the version that tells nodes
whether there is anything new. A revocation is written there first, then into every queue that is listed. A queue that it did
not reach (one that was not listed yet, whose master was away, or that lost it in a failover) has fewer than the home, and
gets them from there: before a worker joins it, and at the next look of a worker that serves it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol, TypeVar

from msgspec.structs import replace

from celeriac.engines.base import Revocation, Revoked, RevokedLease
from celeriac.engines.redis.cluster.numbers import token_number
from celeriac.engines.redis.cluster.shard import Shard
from celeriac.engines.redis.cluster.slots import SLOTS
from celeriac.engines.redis.cluster.topology import Topology
from celeriac.exceptions import OperationalError

__all__ = ["HOME", "Revocations"]

T = TypeVar("T")

#: The name of no queue.
HOME = ""
#: What is about to expire need not be brought anywhere.
_MARGIN_MS = 1000


class Attempt(Protocol):
    """Do something in each shard: what was done where it could be, and the first error."""

    def __call__(
        self, shards: Iterable[Shard], work: Callable[[Shard], T], /
    ) -> tuple[list[T], OperationalError | None]: ...


class Revocations:
    """The part of the broker that revokes. `publisher` as in settling.py."""

    def __init__(
        self,
        topology: Topology,
        publisher: str,
        shard: Callable[[str], Shard],
        all_shards: Callable[[], list[Shard]],
        attempt: Attempt,
    ) -> None:
        self._topology = topology
        self._publisher = publisher
        self._shard = shard
        self._all = all_shards
        self._attempt = attempt
        #: By queue, the home's version and the map of the cluster when both were last compared.
        self._compared: dict[str, tuple[int, int]] = {}

    def revoke(self, revocations: Sequence[Revocation]) -> int:
        """Mark the tasks everywhere, and let no later run have an older token than the fence that is returned.

        When a master is away the others are told all the same, and then it raises.
        """
        home = self._shard(HOME)
        newest = home.revoke(revocations)
        shards = self._all()
        tokens, trouble = self._attempt(shards, lambda shard: shard.revoke(revocations))
        newest = max([newest, *tokens])
        _, more = self._attempt(shards, lambda shard: shard.raise_tokens(self._publisher, newest))
        # Once more, as now whoever is told that there is something new also finds it.
        home.revoke([])
        trouble = trouble or more
        if trouble is not None:
            raise trouble
        return token_number(SLOTS - 1, newest)

    def unrevoke(self, task_ids: Collection[str]) -> int:
        """Home first: nobody may bring back from there what a queue has forgotten."""
        count = self._shard(HOME).unrevoke(task_ids)
        _, trouble = self._attempt(self._all(), lambda shard: shard.unrevoke(task_ids))
        if trouble is not None:
            raise trouble
        return count

    def revocations(self, limit: int) -> list[Revocation]:
        return self._shard(HOME).revocations(limit)

    def held(self, node_id: str, since: int, shards: Sequence[Shard]) -> Revoked:
        """What the node holds, with as much as can be asked; who serves a master that is away is to ask again."""
        version = self._shard(HOME).revoked(node_id, since).version
        brought, trouble = self._bring(shards, version)
        if version == since and not brought and trouble is None:
            return Revoked(version)
        found, more = self._attempt(shards, lambda shard: _numbered(shard, node_id))
        leases = tuple(lease for leases in found for lease in leases)
        trouble = trouble or more
        if trouble is not None and not leases:
            raise trouble
        return Revoked(version if trouble is None else since, leases)

    def bring_to(self, shards: Sequence[Shard]) -> None:
        """Give these queues what they lack. Work does not wait for a home that is away: `held` sees to it later."""
        try:
            version = self._shard(HOME).revoked("", -1).version
        except OperationalError:
            return
        self._bring(shards, version)

    def _bring(self, shards: Iterable[Shard], version: int) -> tuple[bool, OperationalError | None]:
        """Whether any of them lacked something."""
        now = (version, self._topology.version)
        fresh = [shard for shard in shards if self._compared.get(shard.queue) != now]
        if not fresh:
            return False, None
        after_ms = int(time.time() * 1000) + _MARGIN_MS

        def compare(shard: Shard) -> bool:
            lacks = shard.count_marks(after_ms) < wanted
            if lacks:
                self._copy(shard)
            self._compared[shard.queue] = now
            return lacks

        try:
            wanted = self._shard(HOME).count_marks(after_ms) if version else 0
        except OperationalError as error:
            return False, error
        lacked, trouble = self._attempt(fresh, compare)
        return any(lacked), trouble

    def _copy(self, shard: Shard) -> None:
        home = self._shard(HOME)
        for some in home.marks():
            shard.revoke(some)
            # What was taken back between these two lines, too, must not come back.
            left = home.still_marked([one.task_id for one in some])
            gone = [one.task_id for one in some if one.task_id not in left]
            if gone:
                shard.unrevoke(gone)


def _numbered(shard: Shard, node_id: str) -> list[RevokedLease]:
    leases = shard.revoked(node_id, -1).leases
    return [replace(lease, token=token_number(shard.slot, lease.token)) for lease in leases]
