"""The service that keeps this node alive in the store and takes over from those who are not.

It runs in the supervisor, where no task can starve it: renews the node, settles the leases of a child that died, takes what
has not begun from one that hangs, and looks for dead nodes. Whatever it has taken over is leased to the node itself (child
0), so if it dies halfway the next worker takes over from it.

A node that is not known any more was taken for dead (its processes were stopped, or cut off) or its store was replaced. It
never comes back: another id takes its place, and what ran under the old one is cancelled.
"""

from __future__ import annotations

import logging
import os
import queue
import random
import signal
import time
from collections.abc import Callable, Collection, Mapping
from threading import Event, Thread

import msgspec
from msgspec import structs

from celeriac.clock import SYSTEM_CLOCK, Clock, timestamp
from celeriac.crashpoints import reach
from celeriac.engines.base import Broker, Lease, Owner, ResultStore
from celeriac.exceptions import BrokerError, StoreTooNew
from celeriac.retries import Backoff
from celeriac.worker.board import Board
from celeriac.worker.plan import Plan, new_node_id
from celeriac.worker.recovery import DEFAULT_POLICY, Verdict, judge

__all__ = ["DeadChild", "HungChild", "LeaseService"]

logger = logging.getLogger("celeriac.worker")

_LOOK_FOR_DEAD_S = 1.0
_LAST_ATTEMPTS = 3


class DeadChild(msgspec.Struct, frozen=True):
    """A child that has ended; `running` are the tokens of what it was running. Not `counted` when we ended it.

    `timed_out` has the hard time limits, by token, of the runs because of which we did; `terminated` the tokens of those
    that were revoked.
    """

    number: int
    running: frozenset[int]
    cause: str
    counted: bool = True
    timed_out: Mapping[int, float] = msgspec.field(default_factory=dict)
    terminated: frozenset[int] = frozenset()
    #: For the history of what it was running, where there is more to say than `cause`.
    obituary: str = ""


class HungChild(msgspec.Struct, frozen=True):
    """A child that does not get to what it holds. Its courier last had a turn at `beat_at`. We close this `board`."""

    number: int
    name: str
    board: Board
    beat_at: float


_DEAD_NODE = DeadChild(number=0, running=frozenset(), cause="its worker died")


class LeaseService:
    """Renewal and recovery, in a thread. `start` once; `stop` settles what is known, signs off and returns when done.

    `on_lost` is called in that thread when the node has got a new id, with that id, which is registered then. `living` has
    the numbers of the children that live, or whose death has not been reported yet.
    """

    def __init__(
        self,
        plan: Plan,
        broker: Broker,
        results: ResultStore,
        clock: Clock = SYSTEM_CLOCK,
        on_lost: Callable[[str], None] = lambda node_id: None,
        living: Callable[[], Collection[int]] | None = None,
    ) -> None:
        self._plan = plan
        self._broker = broker
        self._results = None if broker.shares_store_with(results) else results
        self._clock = clock
        self._owner = Owner(plan.node_id)
        self._on_lost = on_lost
        self._living = living
        #: Children that held something at the last look though they do not live.
        self._strays: frozenset[int] = frozenset()
        #: This worker under its next id, while that is being registered.
        self._successor: Plan | None = None
        self._reports: queue.SimpleQueue[DeadChild | HungChild | None] = queue.SimpleQueue()
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
        self._reports.put(death)

    def child_hangs(self, hung: HungChild) -> None:
        """Have what a child holds and has not begun given back, at once."""
        self._reports.put(hung)

    def stop(self, timeout_s: float) -> bool:
        """Settle what was reported and forget the node; whether the thread has ended in time.

        While the store is away it gives up after some attempts: whoever finds the node dead then does it.
        """
        self._stopping.set()
        self._reports.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def take_over(self) -> list[Verdict]:
        """One look for dead nodes, by whoever runs no thread of this service; what was decided about their work."""
        self._renew()
        self._broker.recover(self._owner)
        return self._settle_own()

    def sign_off(self) -> None:
        """Forget the node, under whichever id it has by now."""
        self._broker.unregister(self._owner.node)

    def _run(self) -> None:
        renew_at = recover_at = 0.0
        pending: list[DeadChild | HungChild] = []
        attempt = 0
        while True:
            try:
                now = time.monotonic()
                if now >= renew_at:  # before all else: whatever else fails, the node lives
                    self._renew()
                    renew_at = now + self._plan.lease_s / 3
                    # What a reported child held is settled by its report, which says what it was running.
                    if self._living is not None and not pending and self._reports.empty():
                        self._seize_strays(self._living())
                    self._trim()
                while pending:
                    self._see_to(pending[0])
                    pending.pop(0)
                if now >= recover_at:
                    reach("recovering")
                    if self._broker.recover(self._owner):
                        reach("recovered")
                    recover_at = now + _LOOK_FOR_DEAD_S
                self._settle_own()
                self._note(None)
                if self._stopping.is_set() and self._reports.empty():
                    reach("leaving")
                    self.sign_off()
                    return
                attempt = 0
                timeout_s = max(0.0, min(renew_at, recover_at) - time.monotonic())
            except StoreTooNew as error:
                logger.critical("This worker ends, and others take over what it holds: %s", error)
                os.kill(os.getpid(), signal.SIGTERM)
                return
            except Exception as error:  # also what should not happen: without this loop the node would count as dead
                self._note(error)
                attempt += 1
                timeout_s = self._backoff.delay_s(attempt, random.uniform)
                if self._stopping.is_set() and attempt > _LAST_ATTEMPTS:
                    return  # what is left is leased to a node that is about to be dead: the next worker takes it over
            try:
                report = self._reports.get(timeout=timeout_s)
            except queue.Empty:
                continue
            if report is not None:
                pending.append(report)

    def _renew(self) -> None:
        reach("renewing")
        known = self._broker.renew(self._owner.node)
        reach("renewed")
        if not known:
            self._begin_anew()

    def _seize_strays(self, living: Collection[int]) -> None:
        """Leases of children that do not live: a failover of the store may have taken back that we took over from them.

        Only what was found twice: a child may hold something before it is counted as living, or until its death is seen to.
        """
        strays = self._broker.holders(self._owner.node) - {self._owner.child} - frozenset(living)
        for number in strays & self._strays:
            self._broker.seize(Owner(self._owner.node, number), self._owner)
        self._strays = strays

    def _trim(self) -> None:
        trimmed = self._broker.trim_dead(self._plan.dead_max_age_s, self._plan.dead_max_size)
        if trimmed:
            logger.warning("Deleted %d dead letters beyond dead_letter_max_age or dead_letter_max_size", trimmed)

    def _begin_anew(self) -> None:
        """Under an id that nobody has ever taken over from."""
        # The same one again should the answer be lost: nobody would renew the other, nor end it.
        plan = self._successor = self._successor or structs.replace(self._plan, node_id=new_node_id())
        self._broker.register(plan.node())
        logger.error(
            "This worker is not known any more: others have taken over from it (it was stopped or cut off for longer than "
            "its lease of %g s), or the store was replaced. It goes on under a new id and cancels what it was running",
            plan.lease_s,
        )
        self._broker.unregister(self._owner.node)  # nothing is left of it but, with some engines, a lock
        self._plan, self._owner, self._successor = plan, Owner(plan.node_id), None
        self._on_lost(plan.node_id)

    def _see_to(self, report: DeadChild | HungChild) -> None:
        # Of a child that belonged to an id we have lost, nothing is found: it has been taken over.
        lost = Owner(self._owner.node, report.number)
        held = {lease.token for lease in self._broker.held(lost)}
        if isinstance(report, HungChild):
            self._take_unstarted(lost, report, held)
            report.board.close()
            return
        reach("seizing")
        # Noted before the take-over, whose answer may be lost: what had not begun must not count as a crash.
        for token in held:
            self._deaths_by_token[token] = (token in report.running, report)
        self._broker.seize(lost, self._owner)
        reach("seized")

    def _take_unstarted(self, lost: Owner, hung: HungChild, held: set[int]) -> None:
        """What the child has not begun, and from now on will not begin."""
        if not held or hung.board.beat_at != hung.beat_at:
            return  # it has had a turn since
        waiting = hung.board.withdraw(held)
        if not waiting:
            return
        hang = DeadChild(hung.number, frozenset(), "its process hangs")
        for token in waiting:
            self._deaths_by_token[token] = (False, hang)
        self._broker.seize(lost, self._owner, waiting)
        logger.warning(
            "Process %r does not get to what waits behind the task it is running: %d %s back",
            hung.name,
            len(waiting),
            "task goes" if len(waiting) == 1 else "tasks go",
        )

    def _settle_own(self) -> list[Verdict]:
        """Decide about everything this node has taken over, also in a pass that was cut short."""
        leases = self._broker.held(self._owner)
        verdicts = [self._judge(lease) for lease in leases]
        if verdicts:
            self._commit_all(verdicts)
        # Nothing of what was noted is under way any more.
        self._deaths_by_token.clear()
        return verdicts

    def _commit_all(self, verdicts: list[Verdict]) -> None:
        """A result that no store will ever take keeps nothing else from being settled, and its own task goes without it."""
        try:
            self._commit(verdicts)
        except BrokerError:
            raise
        except Exception as error:
            if len(verdicts) > 1:
                for verdict in verdicts:
                    self._commit_all([verdict])
                return
            (verdict,) = verdicts
            if verdict.commit.record is None:
                raise
            logger.error("The result of a task cannot be stored: %r. %s", error, verdict.line, exc_info=error)
            self._commit([structs.replace(verdict, commit=structs.replace(verdict.commit, record=None))])

    def _commit(self, verdicts: list[Verdict]) -> None:
        commits = [verdict.commit for verdict in verdicts]
        reach("judging")
        if self._results is not None:
            self._results.store([commit.record for commit in commits if commit.record is not None])
            commits = [structs.replace(commit, record=None) for commit in commits]
        self._broker.exchange(self._owner, commits)
        reach("judged")
        for verdict in verdicts:
            logger.warning(verdict.line)

    def _judge(self, lease: Lease) -> Verdict:
        running, death = self._deaths_by_token.get(lease.previous, (True, _DEAD_NODE))
        return judge(
            lease,
            running=running,
            counted=death.counted,
            max_deliveries=self._plan.max_deliveries,
            max_interruptions=self._plan.max_interruptions,
            obituary=death.obituary,
            policy=self._plan.policies.get(lease.message.task or "", DEFAULT_POLICY),
            encode=self._plan.encode_document,
            ttl_s=self._plan.failure_ttl_s,
            cause=death.cause,
            now=timestamp(self._clock.time()),
            limit_s=None if lease.previous is None else death.timed_out.get(lease.previous),
            terminated=lease.previous in death.terminated,
        )

    def _note(self, error: Exception | None) -> None:
        if error is not None and not self._down:
            logger.error("The lease cannot be renewed (trying again until it can): %s", error)
        elif error is None and self._down:
            logger.warning("The lease is renewed again")
        self._down = error is not None
