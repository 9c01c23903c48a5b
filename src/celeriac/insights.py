"""The one place that answers "what is going on": for the command line, and for what shows it elsewhere."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from celeriac.app import Celery
from celeriac.engines.base import NodeState, QueueState

__all__ = ["Overview", "overview"]


@dataclass(frozen=True, slots=True)
class Overview:
    """Workers and queues at one moment (`at`, seconds since 1970)."""

    at: float
    store: str
    workers: list[NodeState]
    queues: list[QueueState]
    #: Queues that hold something and that no living worker serves.
    unserved: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


def overview(app: Celery) -> Overview:
    """Ask the store; raises `OperationalError` when it is away."""
    broker = app.broker
    workers = broker.nodes()
    queues = {queue.name: queue for queue in broker.queues()}
    served = {name for worker in workers if worker.alive for name in worker.node.queues}
    for name in {app.conf.task_default_queue, *served}:
        queues.setdefault(name, QueueState(name, 0, 0, 0, 0))
    return Overview(
        at=app.clock.time(),
        store=broker.describe(),
        workers=workers,
        queues=[queues[name] for name in sorted(queues)],
        unserved=sorted(
            queue.name for queue in queues.values() if queue.name not in served and queue.ready + queue.delayed > 0
        ),
    )
