"""The delayed tasks of an application: what waits for its time, run now, or never."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from celeriac import revoking
from celeriac.engines.base import Waiting
from celeriac.messages import Message, Outgoing

if TYPE_CHECKING:
    from celeriac.app import Celery

__all__ = ["DelayedTasks"]

_TOGETHER = 200


class DelayedTasks:
    """Tasks with an ETA or a countdown, and retries that wait, the soonest first."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def list(self, queue: str | None = None, limit: int = 100) -> list[Waiting]:
        """The next to become due, of one queue or of all."""
        return self._app.broker.delayed(queue, limit)

    def get(self, task_id: str) -> Waiting | None:
        """One delayed task."""
        return next(iter(self._find([task_id])), None)

    def run(self, task_ids: Collection[str]) -> int:
        """Make them due now, before what else is ready; returns how many were delayed."""
        found = self._find(task_ids)
        return sum(self._run(found[at : at + _TOGETHER]) for at in range(0, len(found), _TOGETHER))

    def run_all(self, queue: str | None = None) -> int:
        """The same for all that are delayed now."""
        left = sum(state.delayed for state in self._app.broker.queues() if queue in (None, state.name))
        count = 0
        while left > 0 and (some := self.list(queue, min(left, _TOGETHER))):
            left -= len(some)
            count += self._run(some)
        return count

    def revoke(self, task_ids: Collection[str]) -> int:
        """Have them never run (as `app.control.revoke`); returns how many messages were taken out."""
        return revoking.revoke(self._app, task_ids)

    def _find(self, task_ids: Collection[str]) -> Sequence[Waiting]:
        return [one for found in self._app.broker.search(task_ids) for one in found if one.due is not None]

    def _run(self, delayed: Sequence[Waiting]) -> int:
        # Without its ETA, or the worker that claims it would have it wait again.
        pairs = [
            (one, Outgoing(one.message.with_headers(eta=None), one.queue))
            for one in delayed
            if isinstance(one.message, Message)
        ]
        return sum(self._app.broker.hasten(pairs))
