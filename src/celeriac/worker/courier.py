"""The courier: the one thread of a child that talks to the broker for its slots.

It claims leases into an inbox, slots run them, and it settles their commits, both in one exchange. In steady state that is
one round trip per batch. What it holds unstarted is never more than the slots can start within some milliseconds: the
batch follows how long tasks have been taking, and when all slots are busy for longer, what has not started goes back.

Crash points. After a claim, before its answer: the messages are leased to this child, which adopts them after the error.
After a run, before its commit: the run is repeated (at least once). After a commit, before its answer: repeating the commit
finds the lease gone and changes nothing. No error of the broker ends the loop; it retries until it succeeds.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeGuard

from msgspec.structs import replace

from celeriac.crashpoints import reach
from celeriac.engines.base import Broker, Claim, Commit, Exchange, Keep, Lease, Owner, Record, Requeue, ResultStore
from celeriac.exceptions import BrokerError, StoreTooNew
from celeriac.worker.allowance import Allowance
from celeriac.worker.courier_options import CourierOptions
from celeriac.worker.marks import Marks
from celeriac.worker.outage import Outage
from celeriac.worker.pace import Pace
from celeriac.worker.processes import end_broken_process
from celeriac.worker.pulse import Pulse
from celeriac.worker.quarantine import Quarantine
from celeriac.worker.unwritable import Unwritable

__all__ = ["Courier"]

logger = logging.getLogger("celeriac.worker")

_LAST_ATTEMPTS = 3
#: In an exchange of so many, each costs hardly more than in a larger one: no need to let the slots' supply run lower.
_WELL_FILLED = 128
#: A claim that the store should have answered so long ago is made again.
_LATE_S = 1.0


class Courier:
    """Claims and settles for some slots. Thread-safe.

    A slot in a thread waits in `next`; an event loop is told by `on_delivery` (from any thread) and fetches with `take`.
    With `allowance` it claims no more than so many in all, and ends by itself when they are settled. A message of
    `last_delivery` has its last chance: several slots die together, so it runs alone, that no innocent one is buried for it.
    While anything waits in it unstarted, `pulse` shows that it has its turns. `failed` makes the document of a run whose own
    cannot be written.

    A courier has one owner for its whole life. When that is taken for dead, `abandon` ends it, and another one begins.
    """

    def __init__(
        self,
        broker: Broker,
        results: ResultStore,
        owner: Owner,
        queues: tuple[str, ...],
        options: CourierOptions | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        slots: int = 1,
        allowance: int | None = None,
        last_delivery: int | None = None,
        on_delivery: Callable[[], None] | None = None,
        pulse: Pulse | None = None,
        failed: Callable[[Lease, BaseException], Record | None] | None = None,
    ) -> None:
        self._broker = broker
        self._results = None if broker.shares_store_with(results) else results
        self.owner = owner
        self._queues = queues
        self._options = options = options or CourierOptions()
        self._inbox: queue.SimpleQueue[Lease | None] = queue.SimpleQueue()
        self._outbox: deque[Commit] = deque()
        #: The newest document of each run that goes on, by token and task: one that has not left yet is replaced by the
        #: next, so that a task may report as often as it likes while the store is away.
        self._reports: dict[tuple[int, str], Commit] = {}
        #: Tokens leased to this child whose commit has not been applied.
        self._held: set[int] = set()
        self._slots = slots
        self._allowance = Allowance(allowance)
        self._pace = Pace(slots, options, monotonic)
        self._quarantine = Quarantine(last_delivery if slots > 1 else None, options.alone_s, monotonic)
        self._unwritable = Unwritable(broker, owner, failed)
        self._on_delivery = on_delivery
        #: Tokens put into the inbox and neither taken back out of it nor settled by a slot. A lease on its way from the
        #: inbox to a slot is seen in neither, but here.
        self._out: set[int] = set()
        self._pulse = pulse
        #: When no more than so many wait for a slot, more are claimed.
        self._low = 0
        self._stopping = threading.Event()
        self._abandoned = threading.Event()
        self._asked = threading.Event()
        self._uncertain = False
        self._singly = False
        #: The claim that was left with the store, which answers it when something came, or wakes us.
        self._standing: Claim | None = None
        self._look_at = 0.0
        #: Held by whoever exchanges: the courier's thread, but while it sleeps.
        self._turn = threading.Lock()
        self._outage = Outage(options.backoff, self._abandoned)
        self._marks = Marks(self._mark)
        #: Runs whose effects were refused because their lease had gone to someone else.
        self.lost = 0
        #: Leases found in the store that this child did not know of: some of these may run twice.
        self.adopted = 0
        self._thread = threading.Thread(target=self._run, name="celeriac-courier", daemon=True)

    # ── for the slots ────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Begin to claim."""
        self._thread.start()

    def next(self) -> Lease | None:
        """The next lease to run; None when there will be no more."""
        lease = self._inbox.get()
        if lease is None or self._abandoned.is_set():
            self._inbox.put(None)  # for the next slot
            return None
        self._pace.begin(lease.token)
        return lease

    def take(self, limit: int) -> list[Lease] | None:
        """Up to so many leases to run, without waiting; None when there will be no more."""
        leases: list[Lease] = []
        while len(leases) < limit:
            try:
                lease = self._inbox.get_nowait()
            except queue.Empty:
                break
            if lease is None or self.abandoned:
                self._inbox.put(None)
                return leases or None
            self._pace.begin(lease.token)
            leases.append(lease)
        return leases

    def settle(self, commit: Commit) -> None:
        """Hand over the outcome of a lease that `next` or `take` gave."""
        self._pace.end(commit.token)
        if self._abandoned.is_set():
            self._out.discard(commit.token)
            if _is_of_a_run(commit):
                self._count_lost()
            return
        self._outbox.append(commit)
        self._out.discard(commit.token)
        if not self._settle_here() and self._inbox.qsize() <= self._low:
            self._ask()

    def _settle_here(self) -> bool:
        """Settle, and claim, in the slot's own thread if nothing is left to run; whether that was done.

        It would only wait for the courier's thread, and that is woken later, when the caller has its result.
        """
        if self._on_delivery is not None or not self._inbox.empty() or not self._turn.acquire(blocking=False):
            return False
        try:
            # All else than the everyday is for the courier's thread: it pauses, adopts, and ends.
            if self._stopping.is_set() or self._outage.lasts or self._uncertain or self._singly or self._quarantine:
                return False
            if self._allowance.spent:
                return False
            commits, claim = self._drain(), self._wish()
            answer = self._exchange(commits, claim)
            if answer is None:
                return False
            self._take(commits, answer)
            if self._may_stand(claim):
                self._leave_standing(claim, answer.next_due_s)
            # Unless all is as the courier's thread left it, or this slot goes on with the one lease there is.
            if len(answer.leases) != 1 or self._slots > 1:
                self._ask()
            return True
        finally:
            self._turn.release()

    def decline(self, lease: Lease) -> None:
        """Give back a lease that `next` or `take` gave, unrun."""
        self._pace.forget(lease.token)
        self._allowance.give_back()
        self._outbox.append(Commit(lease.token, Requeue()))
        self._out.discard(lease.token)
        self._ask()

    def report(self, commit: Commit) -> None:
        """Store a document soon; the lease stays."""
        self._reports[_of_report(commit)] = commit
        self._ask()

    def begin(self, lease: Lease) -> bool:
        """Mark a run as begun, now; False if the lease is lost. Waits through outages, as nothing may start meanwhile."""
        return self._marks.begin(lease.token)

    def _mark(self, tokens: Sequence[int]) -> Sequence[bool]:
        while not self.abandoned:
            try:
                reach("marking")
                commits = [Commit(token, Keep(begun=True)) for token in tokens]
                applied = self._broker.exchange(self.owner, commits).applied
                reach("marked")
                return applied
            except StoreTooNew:
                break  # nothing of it could be stored
            except BrokerError as error:
                self._outage.note(error)
            self._pause()
        return [False] * len(tokens)

    def stop(self) -> None:
        """Claim no more and give back what has not started; `next` then returns None. Idempotent."""
        self._stopping.set()
        self._broker.wake()

    def abandon(self) -> None:
        """Others have taken over all that this owner held: commit nothing more, claim nothing more. `next` returns None.

        What runs goes on until it is interrupted; its outcome is dropped and counted in `lost`. Idempotent.
        """
        if self.abandoned:
            return
        self._abandoned.set()
        self._inbox.put(None)
        self._announce()
        self._ask()

    @property
    def abandoned(self) -> bool:
        """Whether `abandon` was called."""
        return self._abandoned.is_set()

    def sizes(self) -> dict[str, int]:
        """How many there are of what waits here. From any thread."""
        return {
            "leases held": len(self._held),
            "leases unstarted": self._inbox.qsize(),
            "leases that are to run alone": len(self._quarantine),
            "commits to send": len(self._outbox),
            "reports to send": len(self._reports),
        }

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait until everything is settled; whether it is."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # ── the thread ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        try:
            with self._turn:
                self._deliver_until_stopped()
        except Exception:
            end_broken_process("The courier")

    def _deliver_until_stopped(self) -> None:
        ended = False
        while True:
            self._asked.clear()
            if self.abandoned:
                self._drop_all()
                return
            if ended or self._stopping.is_set() or self.spent:
                # In every pass: an outage may have left leases to adopt, though the slots have ended. The None goes out
                # with them, and in again.
                reach("returning")
                self._give_back("the worker is stopping")
                self._inbox.put(None)
                self._announce()
                ended = True
            elif self._pace.overrun():
                self._give_back("the tasks before it take long")
            suspect = self._quarantine.release(self._out, has_free_slot=self._has_free_slot())
            if suspect is not None:
                self._bring([suspect])
                self._announce()
            commits = self._drain()
            claim = None if ended or self._singly else self._wish()
            if self._stands(claim) and not commits:
                self._show_turn(claims=False)
                self._stand()
                if self._out and not self._has_free_slot():
                    self._sleep(None)
                continue
            next_due_s = None
            # At the end an unanswered claim is looked into once more, so that what it got goes back as well.
            self._standing = None  # whatever is asked of the store now gives it up
            self._show_turn(claims=claim is not None)
            if commits or claim is not None or (ended and self._uncertain):
                answer = self._exchange(commits, claim)
                if answer is None:
                    if ended and not self._outbox and not self._held and self._outage.attempts >= _LAST_ATTEMPTS:
                        return  # whoever takes over from this node finds what there is
                    with self._asleep():
                        self._pause()
                    continue
                self._take(commits, answer)
                if answer.leases and self._has_free_slot():
                    continue  # there may be more; and only who asks and gets nothing is woken
                next_due_s = answer.next_due_s
                if self._may_stand(claim):
                    self._leave_standing(claim, next_due_s)
                    continue
            if ended and not self._outbox and not self._held:
                return
            self._show_turn(claims=False)
            self._sleep(next_due_s)

    def _show_turn(self, *, claims: bool) -> None:
        """Whether anything waits here, or may the moment a claim is answered, which we might not come to read."""
        if self._pulse is None:
            return
        # A claim that stands may be answered by now, and nobody here know of it.
        if not self._inbox.empty() or self._quarantine or (claims and self._out) or self._may_be_answered():
            self._pulse.beat()
        else:
            self._pulse.rest()

    def _may_stand(self, claim: Claim | None) -> TypeGuard[Claim]:
        return claim is not None and claim.park and not self._out

    def _leave_standing(self, claim: Claim, next_due_s: float | None) -> None:
        """Nothing runs here and nothing waits: the store is to answer this claim when something came, or to wake us."""
        self._standing = claim
        self._look_at = time.monotonic() + self._look_within_s(next_due_s)

    def _stands(self, claim: Claim | None) -> bool:
        """Whether this claim is the one that stands. Otherwise it is given up, when the store is next asked."""
        if self._standing is None or (claim == self._standing and time.monotonic() < self._look_at + _LATE_S):
            return self._standing is not None
        self._uncertain = self._uncertain or self._may_be_answered()
        self._standing = None
        return False

    def _may_be_answered(self) -> bool:
        return self._standing is not None and self._broker.lets_claims_stand

    def _stand(self) -> None:
        """Sleep until it is answered, or for a moment."""
        claim = self._standing
        assert claim is not None
        within_s = max(0.0, self._look_at - time.monotonic())
        try:
            with self._asleep():
                if not self._broker.lets_claims_stand:
                    self._broker.wait(within_s)
                    self._standing = None
                    return
                answer = self._broker.stand(self.owner, claim, within_s)
        except (BrokerError, OSError):
            # It may have been carried out, as any claim without an answer.
            self._standing = None
            self._uncertain = True
            with self._asleep():
                self._pause()
            return
        if answer is None:
            return
        self._standing = None
        self._take([], answer)
        if not answer.leases and not answer.reconnected:
            self._leave_standing(claim, answer.next_due_s)

    def _drop_all(self) -> None:
        self._reports.clear()
        while self._outbox:
            if _is_of_a_run(self._outbox.popleft()):
                self._count_lost()

    @property
    def spent(self) -> bool:
        """Whether the allowance is used up and nothing of it is left to run."""
        return self._allowance.spent and not self._out

    def _wish(self) -> Claim | None:
        """How much to claim: nothing while the slots have enough for the next milliseconds."""
        batch, unstarted = self._pace.batch(), self._inbox.qsize()
        self._low = max(batch // 2, batch - _WELL_FILLED)
        if self._quarantine.lasts(self._out):
            return None
        if self._has_free_slot():
            free = self._slots - (len(self._out) - unstarted)
            return self._claim(max(free, batch) - unstarted, park=True)
        if batch == 1 or unstarted > self._low or self._pace.overrun():
            return None
        return self._claim(batch - unstarted)

    def _claim(self, limit: int, *, park: bool = False) -> Claim | None:
        limit = self._allowance.cap(min(limit, self._options.most_ahead))
        return Claim(self._queues, limit, park) if limit > 0 else None

    def _has_free_slot(self) -> bool:
        """Whether some slot has nothing to run."""
        return len(self._out) < self._slots

    def _give_back(self, why: str) -> None:
        for suspect in self._quarantine.clear():
            self._outbox.append(Commit(suspect.token, Requeue()))
        while True:
            try:
                lease = self._inbox.get_nowait()
            except queue.Empty:
                return
            if lease is not None:
                self._out.discard(lease.token)
                self._allowance.give_back()
                logger.debug("Gave back %s: %s", lease.message.id, why)
                self._outbox.append(Commit(lease.token, Requeue()))

    def _drain(self) -> list[Commit]:
        if self._singly and self._outbox:
            return [self._outbox.popleft()]
        self._singly = False
        # Counted before the reports are taken: a run that has ended by then has reported before.
        ended = len(self._outbox)
        reports = [self._reports.popitem()[1] for _ in range(len(self._reports))]
        return reports + [self._outbox.popleft() for _ in range(ended)]

    def _put_back(self, commits: Sequence[Commit]) -> None:
        """Of an exchange that failed; what was reported since then counts."""
        for commit in reversed(commits):
            if isinstance(commit.settle, Keep):
                self._reports.setdefault(_of_report(commit), commit)
            else:
                self._outbox.appendleft(commit)

    def _exchange(self, commits: list[Commit], claim: Claim | None) -> Exchange | None:
        """One exchange; None when the broker is away (the commits are kept for the next)."""
        if commits:
            reach("settling")
        try:
            if self._results is not None:
                # Two stores: the result first, then everything else at once. A crash in between repeats the run; the
                # other order could acknowledge a task whose result nobody ever sees.
                self._results.store([commit.record for commit in commits if commit.record is not None])
                if commits:
                    reach("stored")
                answer = self._broker.exchange(self.owner, [replace(commit, record=None) for commit in commits], claim)
            else:
                answer = self._broker.exchange(self.owner, commits, claim)
            if self._outage.lasts or answer.reconnected:
                self._adopt(answer)
        except StoreTooNew:
            # Nothing of ours can be stored any more. Whoever has upgraded the store takes over when this worker has ended.
            self._stopping.set()
            self._outbox.clear()
            self._reports.clear()
            self._held.clear()
            return None
        except BrokerError as error:
            self._put_back(commits)
            self._uncertain = True
            self._outage.note(error)
            return None
        except Exception as error:
            self._singly = True
            self._outbox.extendleft(reversed(self._unwritable.instead(commits, error)))
            self._uncertain = True
            self._outage.note(error)
            return None
        self._outage.over()
        return answer

    def _adopt(self, answer: Exchange) -> None:
        """After an outage: run what an unanswered claim had leased to this child, and what the store has taken back."""
        known = self._held | {lease.token for lease in answer.leases}
        unknown = [lease for lease in self._broker.held(self.owner) if lease.token not in known]
        self._hand_over(unknown)
        if unknown:
            self._asked.set()  # where nobody runs it any more it goes back at once
            self.adopted += len(unknown)
            logger.warning(
                "Running what an unanswered claim left here, or whose end a failover or restart of the store has "
                "taken back: %d (%d so far)",
                len(unknown),
                self.adopted,
            )
        self._announce()

    def _take(self, commits: list[Commit], answer: Exchange) -> None:
        if commits:
            reach("settled")
        if answer.leases:
            reach("claimed")
        if not all(answer.applied) and not self._uncertain:
            for commit, applied in zip(commits, answer.applied, strict=True):
                if not applied and commit.token in self._held and _is_of_a_run(commit):
                    self._count_lost()
        self._held.difference_update([commit.token for commit in commits if not isinstance(commit.settle, Keep)])
        # Only the commits of an exchange without an answer can have been applied before.
        self._uncertain = False
        if len(answer.leases) > 1 and self._pulse is not None:
            self._pulse.beat()  # before the first of them can begin, and keep the others waiting
        if answer.leases:
            self._hand_over(answer.leases)
            self._announce()

    def _count_lost(self) -> None:
        self.lost += 1
        logger.warning(
            "Refused: a run that had lost its lease to another worker changes nothing (%d so far)", self.lost
        )

    def _hand_over(self, leases: Sequence[Lease]) -> None:
        self._held.update([lease.token for lease in leases])
        innocent = [lease for lease in leases if not self._quarantine.admits(lease)]
        if len(innocent) < len(leases):
            self._ask()
        self._bring(innocent)

    def _bring(self, leases: Sequence[Lease]) -> None:
        self._out.update([lease.token for lease in leases])
        self._allowance.take(len(leases))
        for lease in leases:
            self._inbox.put(lease)

    def _announce(self) -> None:
        if self._on_delivery is not None:
            self._on_delivery()

    def _sleep(self, next_due_s: float | None) -> None:
        """Until there is something to do: asked by a slot, woken by a publisher, or time."""
        if self._asked.is_set() or self._singly:  # what goes singly has claimed nothing, so nobody would wake us
            return
        options = self._options
        if self._has_free_slot():
            timeout_s = self._look_within_s(next_due_s)
        elif self._outbox:
            timeout_s = options.flush_s
        elif not self._inbox.empty():
            timeout_s = options.overrun_s
        else:
            timeout_s = options.look_s
        try:
            with self._asleep():
                self._broker.wait(timeout_s)
        except (BrokerError, OSError):
            with self._asleep():
                self._pause()

    def _look_within_s(self, next_due_s: float | None) -> float:
        return self._options.look_s if next_due_s is None else min(self._options.look_s, next_due_s)

    def _ask(self) -> None:
        if not self._asked.is_set():
            self._asked.set()
            self._broker.wake()

    def _pause(self) -> None:
        if self._pulse is not None:
            self._pulse.rest()  # it waits for the store, and nothing hangs
        self._outage.pause()

    @contextmanager
    def _asleep(self) -> Iterator[None]:
        self._turn.release()
        try:
            yield
        finally:
            self._turn.acquire()


def _of_report(commit: Commit) -> tuple[int, str]:
    return commit.token, "" if commit.record is None else commit.record.task_id


def _is_of_a_run(commit: Commit) -> bool:
    """Nothing is lost with what goes back unrun: whoever took it away has given it back already."""
    return not isinstance(commit.settle, (Requeue, Keep))
