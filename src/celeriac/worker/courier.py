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
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from celeriac.engines.base import Broker, Bury, Claim, Commit, Exchange, Keep, Lease, Owner, Requeue, ResultStore
from celeriac.exceptions import BrokerError
from celeriac.retries import Backoff

__all__ = ["Courier", "CourierOptions"]

logger = logging.getLogger("celeriac.worker")

_LAST_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class CourierOptions:
    """How eager the courier is. The defaults are the measured ones (ARCHITECTURE.md)."""

    #: Unstarted work is held for at most about this long.
    ahead_s: float = 0.02
    #: ... and no more than this many.
    most_ahead: int = 256
    #: When no slot has begun anything for longer than this, what waits behind the runs is given back.
    overrun_s: float = 0.1
    #: Finished work waits for company at most this long while the slots are busy.
    flush_s: float = 0.01
    #: An idle child looks by itself this often, should a wake-up have been lost.
    look_s: float = 1.0
    #: What may run alone waits this long for the others to end, and is alone this long at most.
    alone_s: float = 10.0
    backoff: Backoff = field(default_factory=Backoff)


class Courier:
    """Claims and settles for some slots. Thread-safe.

    A slot in a thread waits in `next`; an event loop is told by `on_delivery` (from any thread) and fetches with `take`.
    With `allowance` it claims no more than so many in all, and ends by itself when they are settled. A message of
    `last_delivery` has its last chance: several slots die together, so it runs alone, that no innocent one is buried for it.
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
    ) -> None:
        self._broker = broker
        self._results = None if broker.shares_store_with(results) else results
        self._owner = owner
        self._queues = queues
        self._options = options or CourierOptions()
        self._monotonic = monotonic
        self._inbox: queue.SimpleQueue[Lease | None] = queue.SimpleQueue()
        self._outbox: deque[Commit] = deque()
        #: Tokens leased to this child whose commit has not been applied.
        self._held: set[int] = set()
        self._slots = slots
        self._allowance = allowance
        self._last_delivery = last_delivery if slots > 1 else None
        #: What waits to run alone, the token of what does, and since when.
        self._suspects: deque[Lease] = deque()
        self._alone: int | None = None
        self._alone_since = 0.0
        self._on_delivery = on_delivery
        #: Tokens put into the inbox and neither taken back out of it nor settled by a slot. A lease on its way from the
        #: inbox to a slot is seen in neither, but here.
        self._out: set[int] = set()
        #: When the runs in progress have begun, by token, and the newest of them.
        self._begun: dict[int, float] = {}
        self._newest_begun = 0.0
        self._usual_s = 1.0
        self._stopping = threading.Event()
        self._asked = threading.Event()
        self._uncertain = False
        self._singly = False
        self._down = False
        self._attempt = 0
        #: Runs whose effects were refused because their lease had gone to someone else.
        self.lost = 0
        self._thread = threading.Thread(target=self._deliver_until_stopped, name="celeriac-courier", daemon=True)

    # ── for the slots ────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Begin to claim."""
        self._thread.start()

    def next(self) -> Lease | None:
        """The next lease to run; None when there will be no more."""
        lease = self._inbox.get()
        if lease is None:
            self._inbox.put(None)  # for the next slot
            return None
        self._begun[lease.token] = self._newest_begun = self._monotonic()
        return lease

    def take(self, limit: int) -> list[Lease] | None:
        """Up to so many leases to run, without waiting; None when there will be no more."""
        leases: list[Lease] = []
        while len(leases) < limit:
            try:
                lease = self._inbox.get_nowait()
            except queue.Empty:
                break
            if lease is None:
                self._inbox.put(None)
                return leases or None
            self._begun[lease.token] = self._newest_begun = self._monotonic()
            leases.append(lease)
        return leases

    def settle(self, commit: Commit) -> None:
        """Hand over the outcome of a lease that `next` or `take` gave."""
        began = self._begun.pop(commit.token, None)
        if began is not None:
            # Half of the newest run: fast to learn that tasks have become long, which is the costly mistake.
            self._usual_s += (self._monotonic() - began - self._usual_s) / 2
        self._outbox.append(commit)
        self._out.discard(commit.token)
        if self._inbox.qsize() <= self._batch() // 2:
            self._ask()

    def report(self, commit: Commit) -> None:
        """Store a document soon; the lease stays."""
        self._outbox.append(commit)
        self._ask()

    def begin(self, lease: Lease) -> bool:
        """Mark a run as begun, now; False if the lease is lost. Waits through outages, as nothing may start meanwhile."""
        while True:
            try:
                (applied,) = self._broker.exchange(self._owner, [Commit(lease.token, Keep(begun=True))]).applied
                return applied
            except BrokerError as error:
                self._note_failure(error)
            self._pause()

    def stop(self) -> None:
        """Claim no more and give back what has not started; `next` then returns None. Idempotent."""
        self._stopping.set()
        self._broker.wake()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait until everything is settled; whether it is."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # ── the thread ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _deliver_until_stopped(self) -> None:
        ended = False
        while True:
            self._asked.clear()
            if self._stopping.is_set() or self.spent:
                # In every pass: an outage may have left leases to adopt. The None goes out with them, and in again.
                self._give_back("the worker is stopping")
                self._inbox.put(None)
                self._announce()
                ended = True
            elif self._overrun():
                self._give_back("the tasks before it take long")
            self._begin_alone()
            commits = self._drain()
            claim = None if ended or self._singly else self._wish()
            next_due_s = None
            # At the end an unanswered claim is looked into once more, so that what it got goes back as well.
            if commits or claim is not None or (ended and self._uncertain):
                answer = self._exchange(commits, claim)
                if answer is None:
                    if ended and not self._outbox and not self._held and self._attempt >= _LAST_ATTEMPTS:
                        return  # whoever takes over from this node finds what there is
                    self._pause()
                    continue
                self._take(commits, answer)
                if answer.leases and self._has_free_slot():
                    continue  # there may be more; and only who asks and gets nothing is woken
                next_due_s = answer.next_due_s
            if ended and not self._outbox and not self._held:
                return
            self._sleep(next_due_s)

    @property
    def spent(self) -> bool:
        """Whether the allowance is used up and nothing of it is left to run."""
        return self._allowance is not None and self._allowance <= 0 and not self._out

    def _wish(self) -> Claim | None:
        """How much to claim: nothing while the slots have enough for the next milliseconds."""
        batch, unstarted = self._batch(), self._inbox.qsize()
        if self._is_quarantine():
            return None
        if self._has_free_slot():
            free = self._slots - (len(self._out) - unstarted)
            return self._claim(max(free, batch) - unstarted, park=True)
        if batch == 1 or unstarted > batch // 2 or self._overrun():
            return None
        return self._claim(batch - unstarted)

    def _is_quarantine(self) -> bool:
        """Whether something runs alone, or is about to."""
        if self._suspects:
            return True
        return self._alone in self._out and self._monotonic() - self._alone_since < self._options.alone_s

    def _begin_alone(self) -> None:
        """Let one of those that are to run alone begin, if it is its turn."""
        if not self._suspects:
            return
        waited_long = self._monotonic() - self._alone_since >= self._options.alone_s
        if not self._out or (waited_long and self._has_free_slot()):
            lease = self._suspects.popleft()
            self._alone, self._alone_since = lease.token, self._monotonic()
            self._bring(lease)
            self._announce()

    def _claim(self, limit: int, *, park: bool = False) -> Claim | None:
        limit = min(limit, self._options.most_ahead)
        if self._allowance is not None:
            limit = min(limit, self._allowance)
        return Claim(self._queues, limit, park) if limit > 0 else None

    def _batch(self) -> int:
        """How many runs all slots together can begin within the time we plan ahead."""
        startable = int(self._slots * self._options.ahead_s / max(self._usual_s, 1e-6))
        return max(1, min(self._options.most_ahead, startable))

    def _has_free_slot(self) -> bool:
        """Whether some slot has nothing to run."""
        return len(self._out) < self._slots

    def _overrun(self) -> bool:
        return len(self._begun) >= self._slots and self._monotonic() - self._newest_begun > self._options.overrun_s

    def _give_back(self, why: str) -> None:
        while self._suspects:
            self._outbox.append(Commit(self._suspects.popleft().token, Requeue()))
        while True:
            try:
                lease = self._inbox.get_nowait()
            except queue.Empty:
                return
            if lease is not None:
                self._out.discard(lease.token)
                if self._allowance is not None:
                    self._allowance += 1
                logger.debug("Gave back %s: %s", lease.message.id, why)
                self._outbox.append(Commit(lease.token, Requeue()))

    def _drain(self) -> list[Commit]:
        if self._singly and self._outbox:
            return [self._outbox.popleft()]
        self._singly = False
        return [self._outbox.popleft() for _ in range(len(self._outbox))]

    def _exchange(self, commits: list[Commit], claim: Claim | None) -> Exchange | None:
        """One exchange; None when the broker is away (the commits are kept for the next)."""
        try:
            if self._results is not None:
                # Two stores: the result first, then everything else at once. A crash in between repeats the run; the
                # other order could acknowledge a task whose result nobody ever sees.
                self._results.store([commit.record for commit in commits if commit.record is not None])
                answer = self._broker.exchange(self._owner, [replace(commit, record=None) for commit in commits], claim)
            else:
                answer = self._broker.exchange(self._owner, commits, claim)
            if self._down:
                self._adopt(answer)
        except BrokerError as error:
            self._outbox.extendleft(reversed(commits))
            self._uncertain = True
            self._note_failure(error)
            return None
        except Exception as error:
            self._outbox.extendleft(reversed(self._refused(commits, error)))
            self._uncertain = True
            self._note_failure(error)
            return None
        self._attempt = 0
        if self._down:
            self._down = False
            logger.warning("The broker is back; going on")
        return answer

    def _refused(self, commits: list[Commit], error: Exception) -> list[Commit]:
        """No outage: something cannot be written. It must not keep others from being stored, so each goes by itself."""
        self._singly = True
        if len(commits) != 1:
            return commits
        reason = f"what the run caused cannot be stored: {error!r}"
        logger.error("Burying a message: %s", reason, exc_info=error)
        return [Commit(commits[0].token, Bury(reason))]

    def _adopt(self, answer: Exchange) -> None:
        """After an outage: run what an unanswered claim had leased to this child."""
        known = self._held | {lease.token for lease in answer.leases}
        for lease in self._broker.held(self._owner):
            if lease.token not in known:
                self._hand_over(lease)
        self._announce()

    def _take(self, commits: list[Commit], answer: Exchange) -> None:
        for commit, applied in zip(commits, answer.applied, strict=True):
            if not applied and not self._uncertain and commit.token in self._held:
                self.lost += 1
                logger.warning(
                    "Refused: a run that had lost its lease to another worker changes nothing (%d so far)", self.lost
                )
            if not isinstance(commit.settle, Keep):
                self._held.discard(commit.token)
        # Only the commits of an exchange without an answer can have been applied before.
        self._uncertain = False
        for lease in answer.leases:
            self._hand_over(lease)
        if answer.leases:
            self._announce()

    def _hand_over(self, lease: Lease) -> None:
        self._held.add(lease.token)
        if self._last_delivery is not None and lease.deliveries >= max(2, self._last_delivery):
            if not self._suspects:
                self._alone_since = self._monotonic()
            self._suspects.append(lease)
            self._ask()
        else:
            self._bring(lease)

    def _bring(self, lease: Lease) -> None:
        self._out.add(lease.token)
        if self._allowance is not None:
            self._allowance -= 1
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
            timeout_s = options.look_s if next_due_s is None else min(options.look_s, next_due_s)
        elif self._outbox:
            timeout_s = options.flush_s
        elif not self._inbox.empty():
            timeout_s = options.overrun_s
        else:
            timeout_s = options.look_s
        try:
            self._broker.wait(timeout_s)
        except (BrokerError, OSError):
            self._pause()

    def _ask(self) -> None:
        if not self._asked.is_set():
            self._asked.set()
            self._broker.wake()

    def _pause(self) -> None:
        self._attempt += 1
        threading.Event().wait(self._options.backoff.delay_s(self._attempt, random.uniform))

    def _note_failure(self, error: Exception) -> None:
        if not self._down:
            self._down = True
            logger.error("The broker cannot be used (trying again until it can; nothing is lost): %s", error)
