"""`app.control`: what one tells the workers of an application.

Orders lie in the store and not in the workers' memory, so they also hold for workers that are away, or start later.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from celeriac import revoking
from celeriac.cautions import warn
from celeriac.engines.base import Revocation

if TYPE_CHECKING:
    from celeriac.app import Celery

__all__ = ["Control"]


class Control:
    """Thread-safe. Every call raises `OperationalError` when the store is away; repeating it is safe."""

    def __init__(self, app: Celery) -> None:
        self.app = app

    def revoke(
        self,
        task_id: str | Iterable[str],
        destination: Any = None,
        terminate: bool = False,
        signal: str | int = "SIGTERM",
        *,
        expires: float | None = None,
        connection: Any = None,
        reply: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Have a task, or several by their ids, not run.

        What waits is taken out of its queue at once, with the result REVOKED; what comes within `expires` seconds (setting
        `revoke_expires`) ends so when a worker claims it. A run that has begun goes on, unless `terminate` ends it too,
        within about a second, on whichever worker it is: in the prefork pool by `signal` (and SIGKILL two seconds later), in
        the others by an exception inside of it. What has ended stays as it is. It concerns all workers, so `destination` has
        no effect; nor have `connection`, `reply` and `timeout`.
        """
        if destination is not None:
            warn("revoke(destination=...) has no effect: a revocation lies in the store, where all workers see it")
        self._revoke(task_id, expires, revoking.signal_name(signal) if terminate else None)

    def terminate(
        self, task_id: str | Iterable[str], destination: Any = None, signal: str | int = "SIGTERM", **options: Any
    ) -> None:
        """As `revoke` with `terminate=True`."""
        self.revoke(task_id, destination, True, signal, **options)

    def revocations(self, limit: int = 100) -> list[Revocation]:
        """What is revoked now, the first to expire first."""
        return self.app.broker.revocations(limit)

    def unrevoke(self, task_id: str | Iterable[str]) -> int:
        """Take revocations back, so that a task sent again under its old id runs; returns how many there were."""
        return self.app.broker.unrevoke(_listed(task_id))

    def _revoke(self, task_id: str | Iterable[str], expires_s: float | None, signal: str | None) -> int:
        return revoking.revoke(self.app, _listed(task_id), expires_s=expires_s, signal=signal)


def _listed(task_id: str | Iterable[str]) -> list[str]:
    return [task_id] if isinstance(task_id, str) else list(task_id)
