"""The worker: takes tasks from the broker and runs them.

    supervisor ── no task code here
     ├─ leases      renews the node, takes over from the dead
     └─ template    imports the app; children are forked from it
         └─ child   courier (claims, settles) and the slots of a pool (run)

`run_worker` is the way in; the solo pool has all of it in one process.
"""

from __future__ import annotations

from collections.abc import Callable

from celeriac.worker.plan import Wishes

__all__ = ["Wishes", "run_worker"]


def run_worker(wishes: Wishes, ready: Callable[[], None] | None = None) -> int:
    """Work until stopped by a signal; returns the exit status. Raises `ConfigError` when it cannot start.

    `ready` is called once, when it takes tasks.

    With no pool named, the application's setting decides, so that has to be read first (in a process of its own).
    """
    if wishes.pool == "solo":
        from celeriac.worker.pools.solo import run_solo

        return run_solo(wishes, ready)
    from celeriac.worker.supervisor import Supervisor

    return Supervisor(wishes, ready).run()
