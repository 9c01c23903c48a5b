"""Short forms for what every conformance test makes: messages, producers, owners, claims."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable

from celeriac.engines.base import (
    Ack,
    Broker,
    Claim,
    Commit,
    Lease,
    Node,
    Owner,
    QueueState,
    Receipt,
    Record,
    RevokedLease,
    Settle,
    Waiting,
)
from celeriac.messages import Malformed, Message, Outgoing

__all__ = [
    "ME",
    "YOU",
    "Producer",
    "claim",
    "commit",
    "ids",
    "names",
    "node",
    "outgoing",
    "queue_state",
    "record",
    "settle",
]

ME = Owner("node-me", 1)
YOU = Owner("node-you", 1)


def outgoing(
    task_id: str, queue: str = "q", *, priority: int = 0, due: float | None = None, body: bytes = b"[[],{},{}]"
) -> Outgoing:
    headers = {"id": task_id, "task": "conformance.job", "lang": "py"}
    return Outgoing(Message.from_headers(headers, body, priority=priority), queue, due)


class Producer:
    """Publishes with receipts that grow, as a process does."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.name = uuid.uuid4().hex
        self._numbers = itertools.count(1)

    def receipt(self) -> Receipt:
        return Receipt(self.name, next(self._numbers))

    def send(self, *items: Outgoing | str) -> None:
        """Publish; a mere name stands for a message of that id in queue q."""
        self._broker.publish([outgoing(item) if isinstance(item, str) else item for item in items], self.receipt())


def claim(broker: Broker, *queues: str, limit: int = 100, owner: Owner = ME, park: bool = False) -> list[Lease]:
    """Claim as a worker does, which has introduced itself with these queues: nobody else is given anything."""
    queues = queues or ("q",)
    served = {queue for state in broker.nodes() if state.node.id == owner.node for queue in state.node.queues}
    if not served.issuperset(queues):
        broker.register(node(owner.node, queues=(*served, *queues)))
    return list(broker.exchange(owner, [], Claim(queues, limit, park)).leases)


def settle(broker: Broker, lease: Lease, how: Settle | None = None, *, owner: Owner = ME) -> bool:
    """Settle one lease (acknowledge); whether that was applied."""
    return commit(broker, Commit(lease.token, how or Ack()), owner=owner)


def commit(broker: Broker, commit: Commit, *, owner: Owner = ME) -> bool:
    (applied,) = broker.exchange(owner, [commit]).applied
    return applied


def ids(found: Iterable[Lease | RevokedLease | Waiting | Message | Malformed]) -> list[str | None]:
    return [(item if isinstance(item, (Message, Malformed)) else item.message).id for item in found]


def names(states: Iterable[QueueState]) -> list[str]:
    return [state.name for state in states]


def queue_state(broker: Broker, queue: str = "q") -> QueueState:
    """The state of a queue; zeros if it holds nothing."""
    for state in broker.queues():
        if state.name == queue:
            return state
    return QueueState(queue, 0, 0, 0, 0)


def node(node_id: str, *, name: str = "celery@here", queues: tuple[str, ...] = ("q",), lease_s: float = 600.0) -> Node:
    return Node(node_id, name, "here", 4711, "prefork", 2, queues, lease_s)


def record(task_id: str, body: bytes = b"{}", *, ttl_s: float | None = None, fence: int = 0) -> Record:
    return Record(task_id, body, ttl_s, fence)
