"""Trouble on demand: a broker and a result store that fail as a network or a disk would.

    plan = RandomFaults(seed=7, error=0.1, lost=0.1)
    broker = FaultyBroker(open_broker(url, options), plan)

A plan is asked at every call what is to go wrong with it. Three things can: the call fails and has done nothing, it has
done its work but the answer is lost, or it takes long. Callers see `OperationalError` for the first two and cannot tell
them apart, as in life. `injected` counts what was done to whom.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Literal, Protocol, Self, TypeVar

import msgspec

from celeriac.engines.base import (
    Broker,
    Claim,
    Commit,
    DeadLetter,
    Exchange,
    Follower,
    Lease,
    Node,
    NodeState,
    Owner,
    QueueState,
    Receipt,
    Record,
    ResultStore,
    Revocation,
    Revoked,
    Waiting,
)
from celeriac.engines.following import follow
from celeriac.exceptions import OperationalError
from celeriac.messages import Malformed, Message, Outgoing

__all__ = [
    "ERROR",
    "LOST",
    "Fault",
    "FaultPlan",
    "FaultyBroker",
    "FaultyResults",
    "NoFaults",
    "Outage",
    "RandomFaults",
    "ScriptedFaults",
    "delay",
]

T = TypeVar("T")


class Fault(msgspec.Struct, frozen=True):
    """What goes wrong with one call: `error` (nothing done), `lost` (done, answer lost) or `delay` (done, but late)."""

    kind: Literal["error", "lost", "delay"]
    delay_s: float = 0.0


ERROR = Fault("error")
LOST = Fault("lost")


def delay(seconds: float) -> Fault:
    """The call takes that much longer."""
    return Fault("delay", seconds)


class FaultPlan(Protocol):
    """Decides what goes wrong. Called from any thread."""

    def next(self, operation: str) -> Fault | None:
        """The fault of this call of a `Broker` or `ResultStore` method; None lets it pass."""


class NoFaults:
    """Nothing goes wrong."""

    def next(self, operation: str) -> Fault | None:
        return None


class ScriptedFaults:
    """Faults for certain calls: `ScriptedFaults([("exchange", 3, LOST)])` loses the answer of the third exchange."""

    def __init__(self, script: Sequence[tuple[str, int, Fault]]) -> None:
        self._script = {(operation, number): fault for operation, number, fault in script}
        self._calls: Counter[str] = Counter()
        self._lock = threading.Lock()

    def next(self, operation: str) -> Fault | None:
        with self._lock:
            self._calls[operation] += 1
            return self._script.get((operation, self._calls[operation]))


class RandomFaults:
    """Faults by chance: `error`, `lost` and `slow` are the probabilities of each, `delay_s` is how long slow calls take.

    The same seed gives the nth call of an operation the same fault, however threads take turns. `operations` limits the
    trouble to some methods.
    """

    def __init__(
        self,
        seed: int,
        *,
        error: float = 0.0,
        lost: float = 0.0,
        slow: float = 0.0,
        delay_s: float = 0.005,
        operations: Collection[str] | None = None,
    ) -> None:
        self._seed = seed
        self._error = error
        self._lost = lost
        self._slow = slow
        self._delay_s = delay_s
        self._operations = None if operations is None else frozenset(operations)
        self._dice: dict[str, random.Random] = {}
        self._lock = threading.Lock()

    def next(self, operation: str) -> Fault | None:
        if self._operations is not None and operation not in self._operations:
            return None
        with self._lock:
            dice = self._dice.get(operation)
            if dice is None:
                dice = self._dice[operation] = random.Random(f"{self._seed} {operation}")
            thrown = dice.random()
        if thrown < self._error:
            return ERROR
        if thrown < self._error + self._lost:
            return LOST
        if thrown < self._error + self._lost + self._slow:
            return delay(self._delay_s)
        return None


class Outage:
    """Every call fails between `begin` and `end`; also a context manager."""

    def __init__(self, operations: Collection[str] | None = None) -> None:
        self._operations = None if operations is None else frozenset(operations)
        self._away = threading.Event()

    def begin(self) -> None:
        """From here on the store is away."""
        self._away.set()

    def end(self) -> None:
        """It is back."""
        self._away.clear()

    def next(self, operation: str) -> Fault | None:
        concerned = self._operations is None or operation in self._operations
        return ERROR if concerned and self._away.is_set() else None

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


class _Injector:
    """Asks the plan, does what it says, and counts."""

    def __init__(self, plan: FaultPlan, sleep: Callable[[float], None]) -> None:
        self._plan = plan
        self._sleep = sleep
        #: (operation, kind of fault) -> how often.
        self.injected: Counter[tuple[str, str]] = Counter()

    def _before(self, operation: str) -> Fault | None:
        fault = self._plan.next(operation)
        if fault is None:
            return None
        self.injected[operation, fault.kind] += 1
        if fault.delay_s > 0:
            self._sleep(fault.delay_s)
        if fault.kind == "error":
            raise OperationalError(f"injected: {operation} failed and did nothing")
        return fault

    def _after(self, operation: str, fault: Fault | None) -> None:
        if fault is not None and fault.kind == "lost":
            raise OperationalError(f"injected: the answer to {operation} was lost")

    def _call(self, operation: str, call: Callable[[], T]) -> T:
        fault = self._before(operation)
        answer = call()
        self._after(operation, fault)
        return answer


class FaultyResults(_Injector):
    """A `ResultStore` in which things go wrong. Operations: `store`, `get`, `watch`, `forget`."""

    def __init__(
        self, inner: ResultStore, plan: FaultPlan | None = None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        super().__init__(plan or NoFaults(), sleep)
        self.inner = inner

    def describe(self) -> str:
        return self.inner.describe()

    def store(self, records: Sequence[Record]) -> None:
        self._call("store", lambda: self.inner.store(records))

    def get(self, task_ids: Collection[str]) -> dict[str, bytes]:
        return self._call("get", lambda: self.inner.get(task_ids))

    @contextmanager
    def watch(self, task_id: str, notify: Callable[[], None]) -> Iterator[None]:
        fault = self._before("watch")
        with self.inner.watch(task_id, notify):
            self._after("watch", fault)
            yield

    def follow(self, task_id: str) -> AbstractContextManager[Follower]:
        return follow(self, task_id)

    def forget(self, task_ids: Collection[str]) -> None:
        self._call("forget", lambda: self.inner.forget(task_ids))

    def discard(self, task_id: str, body: bytes) -> None:
        self._call("discard", lambda: self.inner.discard(task_id, body))

    def sizes(self) -> dict[str, int]:
        return self.inner.sizes()

    def close(self) -> None:
        self.inner.close()


class FaultyBroker(_Injector):
    """A `Broker` in which things go wrong. Every method that asks the store is an operation, by its own name.

    `describe`, `shares_store_with`, `wake` and `close` do not fail.
    """

    def __init__(
        self, inner: Broker, plan: FaultPlan | None = None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        super().__init__(plan or NoFaults(), sleep)
        self.inner = inner
        self._results = FaultyResults(inner.result_store(), self._plan, sleep)

    def describe(self) -> str:
        return self.inner.describe()

    def check(self) -> list[str]:
        return self._call("check", self.inner.check)

    def shares_store_with(self, results: ResultStore) -> bool:
        return self.inner.shares_store_with(results.inner if isinstance(results, FaultyResults) else results)

    def result_store(self) -> FaultyResults:
        return self._results

    def publish(self, outgoing: Sequence[Outgoing], receipt: Receipt) -> None:
        self._call("publish", lambda: self.inner.publish(outgoing, receipt))

    def publish_each(self, batches: Iterable[tuple[Sequence[Outgoing], Receipt]]) -> Iterator[None]:
        for outgoing, receipt in batches:
            self.publish(outgoing, receipt)
            yield

    def exchange(self, owner: Owner, commits: Sequence[Commit], claim: Claim | None = None) -> Exchange:
        return self._call("exchange", lambda: self.inner.exchange(owner, commits, claim))

    def held(self, owner: Owner) -> list[Lease]:
        return self._call("held", lambda: self.inner.held(owner))

    def wait(self, timeout_s: float) -> None:
        self._call("wait", lambda: self.inner.wait(timeout_s))

    @property
    def lets_claims_stand(self) -> bool:
        return self.inner.lets_claims_stand

    def stand(self, owner: Owner, claim: Claim, within_s: float) -> Exchange | None:
        return self._call("stand", lambda: self.inner.stand(owner, claim, within_s))

    def wake(self) -> None:
        self.inner.wake()

    def register(self, node: Node) -> None:
        self._call("register", lambda: self.inner.register(node))

    def renew(self, node_id: str) -> bool:
        return self._call("renew", lambda: self.inner.renew(node_id))

    def unregister(self, node_id: str) -> None:
        self._call("unregister", lambda: self.inner.unregister(node_id))

    def holders(self, node_id: str) -> frozenset[int]:
        return self._call("holders", lambda: self.inner.holders(node_id))

    def seize(self, lost: Owner, by: Owner, only: Collection[int] | None = None) -> list[Lease]:
        return self._call("seize", lambda: self.inner.seize(lost, by, only))

    def recover(self, by: Owner) -> list[Lease]:
        return self._call("recover", lambda: self.inner.recover(by))

    def queues(self) -> list[QueueState]:
        return self._call("queues", self.inner.queues)

    def nodes(self) -> list[NodeState]:
        return self._call("nodes", self.inner.nodes)

    def peek(self, queue: str, limit: int = 10) -> list[Message | Malformed]:
        return self._call("peek", lambda: self.inner.peek(queue, limit))

    def pause(self, queue: str) -> None:
        self._call("pause", lambda: self.inner.pause(queue))

    def resume(self, queue: str) -> None:
        self._call("resume", lambda: self.inner.resume(queue))

    def purge(self, queue: str) -> int:
        return self._call("purge", lambda: self.inner.purge(queue))

    def dead(self, queue: str | None = None, limit: int = 100, after: DeadLetter | None = None) -> list[DeadLetter]:
        return self._call("dead", lambda: self.inner.dead(queue, limit, after))

    def find_dead(self, letter_id: int) -> DeadLetter | None:
        return self._call("find_dead", lambda: self.inner.find_dead(letter_id))

    def exhume(self, letter_id: int, outgoing: Outgoing) -> bool:
        return self._call("exhume", lambda: self.inner.exhume(letter_id, outgoing))

    def drop_dead(self, letter_ids: Collection[int]) -> int:
        return self._call("drop_dead", lambda: self.inner.drop_dead(letter_ids))

    def trim_dead(self, max_age_s: float, max_size: int) -> int:
        return self._call("trim_dead", lambda: self.inner.trim_dead(max_age_s, max_size))

    def revoke(self, revocations: Sequence[Revocation]) -> int:
        return self._call("revoke", lambda: self.inner.revoke(revocations))

    def unrevoke(self, task_ids: Collection[str]) -> int:
        return self._call("unrevoke", lambda: self.inner.unrevoke(task_ids))

    def revocations(self, limit: int = 100) -> list[Revocation]:
        return self._call("revocations", lambda: self.inner.revocations(limit))

    def revoked(self, node_id: str, since: int) -> Revoked:
        return self._call("revoked", lambda: self.inner.revoked(node_id, since))

    def search(self, task_ids: Collection[str]) -> Iterator[list[Waiting]]:
        fault = self._before("search")
        yield from self.inner.search(task_ids)
        self._after("search", fault)

    def withdraw(self, found: Sequence[tuple[Waiting, Record | None]]) -> list[bool]:
        return self._call("withdraw", lambda: self.inner.withdraw(found))

    def delayed(self, queue: str | None = None, limit: int = 100) -> list[Waiting]:
        return self._call("delayed", lambda: self.inner.delayed(queue, limit))

    def hasten(self, delayed: Sequence[tuple[Waiting, Outgoing]]) -> list[bool]:
        return self._call("hasten", lambda: self.inner.hasten(delayed))

    def dead_trimmed(self) -> int:
        return self._call("dead_trimmed", self.inner.dead_trimmed)

    def hand_back(self, *, dead: bool = True) -> int:
        return self._call("hand_back", lambda: self.inner.hand_back(dead=dead))

    def sizes(self) -> dict[str, int]:
        return self.inner.sizes()

    def close(self) -> None:
        self.inner.close()


if TYPE_CHECKING:
    _CHECKED: tuple[type[Broker], type[ResultStore]] = (FaultyBroker, FaultyResults)
