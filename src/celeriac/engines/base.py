"""The contracts between the runtime and a store: `Broker`, `ResultStore`, and the values they exchange.

An engine speaks messages and documents and knows nothing of tasks. The runtime turns a `Lease` into a `Commit`, a plain
value that says everything a run caused; the engine applies each commit whole or not at all, and refuses it when the lease
has gone to someone else. All calls may be made from any thread of one process, end by their deadline, and raise
`OperationalError` when the store is away: then the call took effect once or not at all, and repeating it is safe.

    publish ──▶ ready ──claim──▶ leased ──ack──▶ (gone)
                 ▲ ▲               │ │ └──bury──▶ dead ──exhume──▶ ready
        due time │ └───release─────┘ │
               delayed ◀──requeue────┘

Order: the lowest priority number first over all queues of a claim (an engine may serve neighbouring numbers as one), the
oldest first within a queue, and no queue starves another of the same priority. What was requeued or has become due goes
before what came after it; messages requeued in one exchange keep their order among themselves.

A message for later is delayed while a living worker serves its queue. Where none does, it may be ready at once, for workers
of others who wait themselves; whoever claims a message looks at its `eta`.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import msgspec

from celeriac.messages import Malformed, Message, Outgoing
from celeriac.past import NO_PAST, Past

__all__ = [
    "Ack",
    "Broker",
    "Bury",
    "Claim",
    "Commit",
    "DeadLetter",
    "EngineOptions",
    "Exchange",
    "Follower",
    "Keep",
    "Lease",
    "Node",
    "NodeState",
    "Owner",
    "QueueState",
    "Receipt",
    "Record",
    "Requeue",
    "ResultStore",
    "Revocation",
    "Revoked",
    "RevokedLease",
    "Settle",
    "Waiting",
]


class EngineOptions(msgspec.Struct, frozen=True):
    """What every engine is opened with: where relative paths begin, deadlines, and its own options by name."""

    folder: str
    timeout_s: float = 4.0
    options: Mapping[str, Any] = msgspec.field(default_factory=dict)
    #: TLS options by the names of `broker_use_ssl`; None leaves it to the URL.
    tls: Mapping[str, Any] | None = None


class Owner(msgspec.Struct, frozen=True, gc=False):
    """Who holds a lease: one child of one node. Neither id nor child number is ever used again."""

    node: str
    child: int = 0


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """Names one publish, so that repeating it adds nothing. `number` grows with every publish of a producer."""

    producer: str
    number: int


class Lease(msgspec.Struct, frozen=True, gc=False):
    """A message lent to an owner. `deliveries` counts this time and every earlier one that ended in a crash."""

    token: int
    queue: str
    message: Message | Malformed
    deliveries: int
    #: An earlier owner had declared the run begun (`Keep(begun=True)`): it must not run again.
    begun: bool = False
    #: The token under which a lost owner held what `seize` or `recover` took over.
    previous: int | None = None
    #: What became of earlier runs, as the last `Requeue` that told of it said.
    past: Past = NO_PAST
    #: It was revoked before this claim: it must not run.
    revoked: bool = False


class Ack(msgspec.Struct, frozen=True, gc=False):
    """Done with: the message goes."""


class Requeue(msgspec.Struct, frozen=True, gc=False):
    """Back to the head of the queue, or after `delay_s` where that is positive.

    `counted` says that this delivery counts towards `max_deliveries`. `past` replaces what is kept of earlier runs, until
    the message ends; None leaves it.
    """

    delay_s: float = 0.0
    counted: bool = False
    past: Past | None = None


class Bury(msgspec.Struct, frozen=True, gc=False):
    """To the dead letters. `detail` is kept for people (a traceback, the history of crashes). Both may be any text."""

    reason: str
    detail: str = ""


class Keep(msgspec.Struct, frozen=True, gc=False):
    """The lease stays: only the document is stored. `begun` marks an at-most-once run as started for ever."""

    begun: bool = False


Settle = Ack | Requeue | Bury | Keep


class Record(msgspec.Struct, frozen=True, gc=False):
    """An encoded result document; None as `ttl_s` keeps it for ever."""

    task_id: str
    body: bytes
    ttl_s: float | None = None
    #: The token of the lease. Of two documents that `ResultStore.store` is given, the one with the higher fence is newer and
    #: stands. `exchange` has no need of it: it stores a document only for who holds the lease.
    fence: int = 0


class Commit(msgspec.Struct, frozen=True, gc=False):
    """Everything that one run caused, applied together or not at all."""

    token: int
    settle: Settle
    record: Record | None = None
    messages: tuple[Outgoing, ...] = ()


class Claim(msgspec.Struct, frozen=True, gc=False):
    """A wish for up to `limit` messages of `queues`, or fewer when they are large.

    With `park`, an owner that gets none is woken when there are some. As many are woken as messages came.
    """

    queues: tuple[str, ...]
    limit: int
    park: bool = False


class Exchange(msgspec.Struct, frozen=True, gc=False):
    """The answer to an exchange: for each commit whether it was applied, the new leases, and when to look again."""

    applied: tuple[bool, ...] = ()
    leases: tuple[Lease, ...] = ()
    #: Seconds until the next delayed message of the claimed queues is due.
    next_due_s: float | None = None
    #: The connection is not that of the exchange before. A store that was restarted or failed over may have taken back what
    #: it had answered last: whoever holds leases asks what is `held`.
    reconnected: bool = False


class Node(msgspec.Struct, frozen=True):
    """A worker, as it introduces itself."""

    id: str
    name: str
    host: str
    pid: int
    pool: str
    concurrency: int
    queues: tuple[str, ...]
    #: How long it may be silent before others take over, where its death does not show at once.
    lease_s: float = 15.0


class NodeState(msgspec.Struct, frozen=True):
    """A worker, as the store knows it. Times are seconds since 1970."""

    node: Node
    alive: bool
    started: float
    renewed: float
    leased: int


class QueueState(msgspec.Struct, frozen=True):
    """What lies in a queue."""

    name: str
    ready: int
    leased: int
    delayed: int
    dead: int
    #: Seconds since 1970 at which the oldest ready message was published.
    oldest: float | None = None
    paused: bool = False


class DeadLetter(msgspec.Struct, frozen=True):
    """A buried message. `raw` is what lay in the queue, byte for byte."""

    id: int
    queue: str
    task_id: str | None
    task: str | None
    reason: str
    detail: str
    buried: float
    deliveries: int
    raw: bytes


class Revocation(msgspec.Struct, frozen=True, gc=False):
    """A task that must not run; the store remembers it until `expires` (seconds since 1970).

    `signal` (a name: SIGTERM) is for the process that runs it already; None lets such a run go on.
    """

    task_id: str
    expires: float
    signal: str | None = None


class RevokedLease(msgspec.Struct, frozen=True, gc=False):
    """What a child holds although it was revoked. `signal` as in `Revocation`."""

    child: int
    token: int
    queue: str
    message: Message | Malformed
    signal: str | None

    @property
    def signum(self) -> int | None:
        """Its number here; one that this system has not is SIGTERM's."""
        if self.signal is None:
            return None
        return int(getattr(signal, self.signal, signal.SIGTERM))


class Revoked(msgspec.Struct, frozen=True, gc=False):
    """What a node holds of revoked tasks. `version` changes with every revocation."""

    version: int
    leases: tuple[RevokedLease, ...] = ()


class Waiting(msgspec.Struct, frozen=True):
    """A message in its queue: ready, or delayed until `due` (seconds since 1970). `raw` is what lies there."""

    queue: str
    message: Message | Malformed
    raw: bytes
    due: float | None
    #: Where it lies, as the engine says it.
    place: Any


class Follower(Protocol):
    """One thread that waits for a document."""

    def wait(self, timeout_s: float) -> bytes | None:
        """The document, when there is one that this follower has not seen; None after this time, or to have it read.

        May come for no reason, and miss what was written by a process that died then: read now and then.
        """


class ResultStore(Protocol):
    """Documents by task id."""

    def describe(self) -> str:
        """The store for people, without secrets."""

    def store(self, records: Sequence[Record]) -> None:
        """Keep these documents, except where one of a higher fence is there."""

    def get(self, task_ids: Collection[str]) -> dict[str, bytes]:
        """The documents of those ids that have one."""

    def watch(self, task_id: str, notify: Callable[[], None]) -> AbstractContextManager[None]:
        """Within the context, `notify` is called (from any thread) soon after the document changed.

        A call may be missing after a crash of the writer, and may come for no reason: read after entering and after each
        call, and now and then without one.
        """

    def follow(self, task_id: str) -> AbstractContextManager[Follower]:
        """Wait for the document in the thread that calls: what there is comes first, then what it is replaced by."""

    def forget(self, task_ids: Collection[str]) -> None:
        """Remove documents."""

    def discard(self, task_id: str, body: bytes) -> None:
        """Remove the document if it is still this one."""

    def sizes(self) -> dict[str, int]:
        """How many there are of what this process keeps for the store and could grow, by what it is. Asks nobody."""

    def close(self) -> None:
        """Let go of connections. Idempotent; the next call opens them again."""


class Broker(Protocol):
    """Queues of messages, and who holds what."""

    @property
    def lets_claims_stand(self) -> bool:
        """Whether a claim can be left with the store (`stand`)."""

    def describe(self) -> str:
        """The store for people, without secrets."""

    def check(self) -> list[str]:
        """What a careful operator would change about the store's set-up, a sentence each; raises when it cannot serve."""

    def shares_store_with(self, results: ResultStore) -> bool:
        """Whether `exchange` stores documents in `results`: in one step with all else, or (in a cluster) before it."""

    def result_store(self) -> ResultStore:
        """The result store that lies in the same place, for applications that name none."""

    def publish(self, outgoing: Sequence[Outgoing], receipt: Receipt) -> None:
        """Add the messages, all or none; nothing if this receipt, or a later one of the producer, was seen before."""

    def publish_each(self, batches: Iterable[tuple[Sequence[Outgoing], Receipt]]) -> Iterator[None]:
        """`publish` one batch after the other, and yield as each is stored. One may be written while the store is at
        the one before; when a batch fails, none after it is sent."""

    def exchange(self, owner: Owner, commits: Sequence[Commit], claim: Claim | None = None) -> Exchange:
        """Apply commits and claim more, in one step. Never waits for messages.

        Only a worker that is registered with these queues may claim from them: an engine gives nothing to one that is not,
        or no more.
        """

    def held(self, owner: Owner) -> list[Lease]:
        """Everything leased to the owner: after an error, this tells what a claim got whose answer was lost."""

    def wait(self, timeout_s: float) -> None:
        """Sleep until messages came for a parked claim, `wake` was called, or the time is over. One thread at a time."""

    def stand(self, owner: Owner, claim: Claim, within_s: float) -> Exchange | None:
        """Leave a parked claim with the store, which answers it when messages came, or within this time.

        Only where `lets_claims_stand`, for an owner that holds nothing: it spares the way between being woken and
        claiming. None when `wake` was called, and now and then for no reason: then the claim stands, and may take
        messages, until it is answered. Another exchange gives it up, and says `reconnected`: what it has taken meanwhile
        is `held`, as after an error. One thread at a time, which is that of `wait`.
        """

    def wake(self) -> None:
        """End the current or else the next `wait` of this process. From any thread."""

    def register(self, node: Node) -> None:
        """Make a worker known; from here on it counts as alive until this process ends or `unregister`."""

    def renew(self, node_id: str) -> bool:
        """Say that the node lives; False if the store does not know it (any more). Also clears what has expired."""

    def unregister(self, node_id: str) -> None:
        """Forget a worker that holds nothing more."""

    def holders(self, node_id: str) -> frozenset[int]:
        """The children of a node that hold leases."""

    def seize(self, lost: Owner, by: Owner, only: Collection[int] | None = None) -> list[Lease]:
        """Take over the leases of a dead child under new tokens: whatever it still commits is refused.

        With `only`, those of these tokens: a child that lives but does not get to them keeps the rest.
        """

    def recover(self, by: Owner) -> list[Lease]:
        """Take over the leases of dead nodes under new tokens, and forget those nodes.

        Where death does not show at once, only for a node that has itself renewed without a gap for a whole lease, its own
        and the dead one's: after an outage, or when a clock has jumped, the living come first.
        """

    def queues(self) -> list[QueueState]:
        """Every queue that holds anything or is paused."""

    def nodes(self) -> list[NodeState]:
        """Every worker that is known."""

    def peek(self, queue: str, limit: int = 10) -> list[Message | Malformed]:
        """The next ready messages, left where they are."""

    def pause(self, queue: str) -> None:
        """No claim takes from the queue until `resume`."""

    def resume(self, queue: str) -> None:
        """Claims take from the queue again."""

    def purge(self, queue: str) -> int:
        """Delete what waits in the queue, ready and delayed; returns how many."""

    def dead(self, queue: str | None = None, limit: int = 100, after: DeadLetter | None = None) -> list[DeadLetter]:
        """Buried messages, newest first; those that come `after` one, which need not be there any more."""

    def find_dead(self, letter_id: int) -> DeadLetter | None:
        """One buried message."""

    def exhume(self, letter_id: int, outgoing: Outgoing) -> bool:
        """Replace a buried message by one that is published; False if it was gone."""

    def drop_dead(self, letter_ids: Collection[int]) -> int:
        """Delete buried messages; returns how many there were."""

    def trim_dead(self, max_age_s: float, max_size: int) -> int:
        """Delete the oldest buried messages beyond the caps; returns how many."""

    def revoke(self, revocations: Sequence[Revocation]) -> int:
        """Remember what must not run: whoever claims it from now on is told so (`Lease.revoked`).

        Returns a fence newer than every run so far and older than any that begins later, for documents about these tasks.
        """

    def unrevoke(self, task_ids: Collection[str]) -> int:
        """Forget revocations; returns how many there were."""

    def revocations(self, limit: int = 100) -> list[Revocation]:
        """What is revoked, the first to expire first."""

    def revoked(self, node_id: str, since: int) -> Revoked:
        """What the children of a node hold of revoked tasks; nothing if `since` is the version. Cheap where it is."""

    def search(self, task_ids: Collection[str]) -> Iterator[list[Waiting]]:
        """Look for these tasks among the ready and delayed messages, bounded piece by bounded piece.

        What comes, goes or is moved meanwhile may be missed, or found twice.
        """

    def withdraw(self, found: Sequence[tuple[Waiting, Record | None]]) -> list[bool]:
        """Take messages out of their queues and store the documents of those that were still there, in one step.

        Documents only where the result store is shared. Hundreds at a time at most.
        """

    def delayed(self, queue: str | None = None, limit: int = 100) -> list[Waiting]:
        """The delayed messages, of one queue or of all, the soonest first."""

    def hasten(self, delayed: Sequence[tuple[Waiting, Outgoing]]) -> list[bool]:
        """Make delayed messages ready at once, each in the form given with it; False for those that were delayed no more.

        Hundreds at a time at most.
        """

    def dead_trimmed(self) -> int:
        """How many `trim_dead` has deleted since the store was made."""

    def hand_back(self, *, dead: bool = True) -> int:
        """Give delayed and leased messages, and those in the dead letters if `dead`, back to where Celery's workers look.

        Returns how many there were.

        Raises `BrokerError` while workers of ours are alive, or when the store has nothing to do with Celery.
        """

    def sizes(self) -> dict[str, int]:
        """How many there are of what this process keeps for the store and could grow, by what it is. Asks nobody."""

    def close(self) -> None:
        """Let go of connections. Idempotent; the next call opens them again."""
