"""Revocations that come while a worker holds the message: who notices them, and how runs are ended.

RevocationWatch  in the supervisor: a thread that asks the store what this node holds of revoked tasks
Revoke           supervisor to child: do not begin this run, or end it
Terminations     in a child whose slots share it: the runs that can be ended one by one

A run that is ended with its process (prefork) is a `RevokedRun` (revoked_runs.py).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import msgspec

from celeriac.engines.base import Broker, RevokedLease
from celeriac.exceptions import BrokerError, Terminated

__all__ = ["RevocationWatch", "Revoke", "Terminations"]

logger = logging.getLogger("celeriac.worker")

#: How soon a revocation reaches what a worker has taken.
_LOOK_S = 0.5


class Revoke(msgspec.Struct, frozen=True):
    """Do not begin the run of this lease; with a signal, end it if it has begun."""

    token: int
    signum: int | None = None


class RevocationWatch:
    """Calls `found`, in a thread of its own, for what the node holds of revoked tasks.

    Once for each new revocation; while a run is to be ended, at every look until it has.
    """

    def __init__(self, broker: Broker, node_id: Callable[[], str], found: Callable[[RevokedLease], None]) -> None:
        self._broker = broker
        self._node_id = node_id
        self._found = found
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="celeriac-revocations", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()

    def join(self) -> None:
        """Wait until the last look is over."""
        self._thread.join()

    def _watch(self) -> None:
        seen, broken = 0, False
        while not self._stopping.wait(_LOOK_S):
            try:
                revoked = self._broker.revoked(self._node_id(), seen)
            except BrokerError:
                continue  # whoever renews the lease has said so
            except Exception:  # what should not happen is said once, and not twice a second
                if not broken:
                    logger.exception("Revocations cannot be looked for (trying again until they can)")
                broken = True
                continue
            if broken:
                logger.warning("Revocations are looked for again")
            broken = False
            for lease in revoked.leases:
                self._found(lease)
            seen = 0 if any(lease.signal is not None for lease in revoked.leases) else revoked.version


class Terminations:
    """How the runs of this process can be ended, by token. Thread-safe."""

    def __init__(self) -> None:
        self._ends: dict[int, Callable[[Terminated], None]] = {}

    def begin(self, token: int, end: Callable[[Terminated], None]) -> None:
        """From now on this run can be ended. `end` may come from any thread, and too late: then it must do nothing."""
        self._ends[token] = end

    def end(self, token: int) -> None:
        """The run has ended."""
        self._ends.pop(token, None)

    def terminate(self, token: int, signum: int) -> None:
        """End the run, if it has begun and not ended."""
        end = self._ends.get(token)
        if end is not None:
            end(Terminated(signum))
