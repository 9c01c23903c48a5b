"""The courier: the one thread of a child that talks to the broker for its slots.

It claims leases into an inbox, slots run them, and it settles their commits, both in one exchange. In steady state that is
one round trip per batch. What it holds unstarted is never more than the slots can start within some milliseconds: the
batch follows how long tasks have been taking, and when one overruns, what has not started goes back.

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
    #: A run that takes longer than this has what waits behind it given back.
    overrun_s: float = 0.1
    #: Finished work waits for company at most this long while the slot is busy.
    flush_s: float = 0.01
    #: An idle child looks by itself this often, should a wake-up have been lost.
    look_s: float = 1.0
    backoff: Backoff = field(default_factory=Backoff)


class Courier:
    """Claims and settles for one slot. `next`, `settle` and `report` are called by the slot; `stop` by any thread."""

    def __init__(
        self,
        broker: Broker,
        results: ResultStore,
        owner: Owner,
        queues: tuple[str, ...],
        options: CourierOptions | None = None,
        monotonic: Callable[[], float] = time.monotonic,
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
        # Counted by one thread each: leases put into the inbox, taken back out of it, and settled by the slot.
        self._delivered = self._taken_back = self._settled = 0
        self._running_since: float | None = None
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

    # ── for the slot ─────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Begin to claim."""
        self._thread.start()

    def next(self) -> Lease | None:
        """The next lease to run; None when there will be no more."""
        lease = self._inbox.get()
        if lease is not None:
            self._running_since = self._monotonic()
        return lease

    def settle(self, commit: Commit) -> None:
        """Hand over the outcome of the lease that `next` gave."""
        began, self._running_since = self._running_since, None
        if began is not None:
            # Half of the newest run: fast to learn that tasks have become long, which is the costly mistake.
            self._usual_s += (self._monotonic() - began - self._usual_s) / 2
        self._outbox.append(commit)
        self._settled += 1
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
            if self._stopping.is_set():
                # In every pass: an outage may have left leases to adopt. The None goes out with them, and in again.
                self._give_back("the worker is stopping")
                self._inbox.put(None)
                ended = True
            elif self._overrun():
                self._give_back("the task before it takes long")
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
                next_due_s = answer.next_due_s
            if ended and not self._outbox and not self._held:
                return
            self._sleep(next_due_s)

    def _wish(self) -> Claim | None:
        """How much to claim: nothing while the slot has enough for the next milliseconds."""
        batch, unstarted = self._batch(), self._inbox.qsize()
        if self._idle():
            return Claim(self._queues, batch, park=True)
        if batch == 1 or unstarted > batch // 2 or self._overrun():
            return None
        return Claim(self._queues, batch - unstarted)

    def _batch(self) -> int:
        return max(1, min(self._options.most_ahead, int(self._options.ahead_s / max(self._usual_s, 1e-6))))

    def _idle(self) -> bool:
        """Whether the slot has nothing. Counted: a lease on its way from the inbox to the slot is seen in neither."""
        return self._delivered == self._taken_back + self._settled

    def _overrun(self) -> bool:
        began = self._running_since
        return began is not None and self._monotonic() - began > self._options.overrun_s

    def _give_back(self, why: str) -> None:
        while True:
            try:
                lease = self._inbox.get_nowait()
            except queue.Empty:
                return
            if lease is not None:
                self._taken_back += 1
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

    def _hand_over(self, lease: Lease) -> None:
        self._held.add(lease.token)
        self._delivered += 1
        self._inbox.put(lease)

    def _sleep(self, next_due_s: float | None) -> None:
        """Until there is something to do: asked by the slot, woken by a publisher, or time."""
        if self._asked.is_set() or self._singly:  # what goes singly has claimed nothing, so nobody would wake us
            return
        options = self._options
        if self._idle():
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
