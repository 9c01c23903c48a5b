"""What becomes of commits that a store will never take: no outage, but something in them that cannot be written."""

from __future__ import annotations

import logging
from collections.abc import Callable

from celeriac.engines.base import Broker, Bury, Commit, Lease, Owner, Record
from celeriac.exceptions import BrokerError, EncodeError
from celeriac.past import story

__all__ = ["Unwritable"]

logger = logging.getLogger("celeriac.worker")

_REASON = "what the run caused cannot be stored"


class Unwritable:
    """Finds the commit that it is, and makes another of it. `failed` makes the document of a run that has failed so."""

    def __init__(
        self, broker: Broker, owner: Owner, failed: Callable[[Lease, BaseException], Record | None] | None
    ) -> None:
        self._broker = broker
        self._owner = owner
        self._failed = failed

    def instead(self, commits: list[Commit], error: Exception) -> list[Commit]:
        """What to try next. Several go one by one, so that it keeps no others from being stored; one is buried."""
        if len(commits) != 1:
            return commits
        (commit,) = commits
        reason = f"{_REASON}: {error!r}"
        if isinstance(commit.settle, Bury) and commit.settle.reason.startswith(_REASON):
            return [Commit(commit.token, commit.settle)]  # then without a result: that is what cannot be written
        try:
            held = {lease.token: lease for lease in self._broker.held(self._owner)}
        except BrokerError:
            return commits  # which will be refused again
        logger.error("Burying a message: %s", reason, exc_info=error)
        lease = held.get(commit.token)
        record = self._failed(lease, EncodeError(reason)) if self._failed and lease else None
        return [Commit(commit.token, Bury(reason, story(lease.past) if lease else ""), record)]
