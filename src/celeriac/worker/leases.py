"""The service that keeps this node alive in the store and takes over from those who are not.

It runs in the supervisor, where no task can starve it: renews the node, settles the leases of a child that died, and looks
for dead nodes. Whatever it has taken over is leased to the node itself (child 0), so if it dies halfway the next worker
takes over from it.
"""

from __future__ import annotations

import logging
import queue
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from threading import Event, Thread

from celeriac.clock import SYSTEM_CLOCK, Clock, utc
from celeriac.engines.base import Broker, Lease, Owner, ResultStore
from celeriac.retries import Backoff
from celeriac.worker.plan import Plan
from celeriac.worker.recovery import Verdict, judge

__all__ = ["DeadChild", "LeaseService"]

logger = logging.getLogger("celeriac.worker")

_LOOK_FOR_DEAD_S = 1.0


@dataclass(frozen=True, slots=True)
class DeadChild:
    """A child that has ended; `running` are the tokens of what it was running. Not `counted` when we ended it.

    `timed_out` has the hard time limits, by token, of the runs because of which we did.
    """

    number: int
    running: frozenset[int]
    cause: str
    counted: bool = True
    timed_out: Mapping[int, float] = field(default_factory=dict)


_DEAD_NODE = DeadChild(number=0, running=frozenset(), cause="its worker died")


class LeaseService:
    """Renewal and recovery, in a thread. `start` once; `stop` settles what is known and returns when done."""

    def __init__(self, plan: Plan, broker: Broker, results: ResultStore, clock: Clock = SYSTEM_CLOCK) -> None:
        self._plan = plan
        self._broker = broker
        self._results = None if broker.shares_store_with(results) else results
        self._clock = clock
        self._owner = Owner(plan.node_id)
        self._deaths: queue.SimpleQueue[DeadChild | None] = queue.SimpleQueue()
        self._stopping = Event()
        # After an outage nobody takes over before having been steady for a whole lease: by then we must have renewed.
        self._backoff = Backoff(longest_s=min(5.0, plan.lease_s / 6))
        self._down = False
        #: By the token under which the child held it.
        self._deaths_by_token: dict[int | None, tuple[bool, DeadChild]] = {}
        self._thread = Thread(target=self._run, name="celeriac-leases", daemon=True)

    def start(self) -> None:
        """Begin. The node must be registered."""
        self._thread.start()

    def child_died(self, death: DeadChild) -> None:
        """Have the leases of a dead child settled, at once."""
        self._deaths.put(death)

    def stop(self, timeout_s: float) -> bool:
        """Settle the deaths that were reported, then end; whether that was done in time."""
        self._stopping.set()
        self._deaths.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        renew_at = recover_at = 0.0
        pending: list[DeadChild] = []
        attempt = 0
        while True:
            try:
                while pending:
                    self._seize(pending[0])
                    pending.pop(0)
                now = time.monotonic()
                if now >= renew_at:
                    self._renew()
                    renew_at = now + self._plan.lease_s / 3
                if now >= recover_at:
                    self._broker.recover(self._owner)
                    recover_at = now + _LOOK_FOR_DEAD_S
                self._settle_own()
                if self._stopping.is_set() and self._deaths.empty():
                    return
                self._note(None)
                attempt = 0
                timeout_s = max(0.0, min(renew_at, recover_at) - time.monotonic())
            except Exception as error:  # also what should not happen: without this loop the node would count as dead
                self._note(error)
                attempt += 1
                timeout_s = self._backoff.delay_s(attempt, random.uniform)
                if self._stopping.is_set() and attempt > 3:
                    return  # what is left is leased to a node that is about to be dead: the next worker takes it over
            try:
                death = self._deaths.get(timeout=timeout_s)
            except queue.Empty:
                continue
            if death is not None:
                pending.append(death)

    def _renew(self) -> None:
        if not self._broker.renew(self._plan.node_id):
            # The store was deleted or replaced under us; introduce ourselves to the new one.
            self._broker.register(self._plan.node())
        trimmed = self._broker.trim_dead(self._plan.dead_max_age_s, self._plan.dead_max_size)
        if trimmed:
            logger.warning("Deleted %d dead letters beyond dead_letter_max_age or dead_letter_max_size", trimmed)

    def _seize(self, death: DeadChild) -> None:
        lost = Owner(self._plan.node_id, death.number)
        # Noted before the take-over, whose answer may be lost: what had not begun must not count as a crash.
        for lease in self._broker.held(lost):
            self._deaths_by_token[lease.token] = (lease.token in death.running, death)
        self._broker.seize(lost, self._owner)

    def _settle_own(self) -> None:
        """Decide about everything this node has taken over, also in a pass that was cut short."""
        leases = self._broker.held(self._owner)
        if not leases:
            self._deaths_by_token.clear()
            return
        verdicts = [self._judge(lease) for lease in leases]
        commits = [verdict.commit for verdict in verdicts]
        if self._results is not None:
            self._results.store([commit.record for commit in commits if commit.record is not None])
            commits = [replace(commit, record=None) for commit in commits]
        self._broker.exchange(self._owner, commits)
        for verdict in verdicts:
            logger.warning(verdict.line)

    def _judge(self, lease: Lease) -> Verdict:
        running, death = self._deaths_by_token.get(lease.previous, (True, _DEAD_NODE))
        return judge(
            lease,
            running=running,
            counted=death.counted,
            max_deliveries=self._plan.max_deliveries,
            encode=self._plan.encode_document,
            ttl_s=self._plan.failure_ttl_s,
            cause=death.cause,
            now=utc(self._clock.time()).isoformat(),
            limit_s=None if lease.previous is None else death.timed_out.get(lease.previous),
        )

    def _note(self, error: Exception | None) -> None:
        if error is not None and not self._down:
            logger.error("The lease cannot be renewed (trying again until it can): %s", error)
        elif error is None and self._down:
            logger.warning("The lease is renewed again")
        self._down = error is not None
