"""The one place that answers "what is going on": for the command line, and for what shows it elsewhere."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from celeriac.app import Celery
from celeriac.documents import Document
from celeriac.engines.base import NodeState, QueueState

__all__ = ["Overview", "documents", "overview"]


class Overview(msgspec.Struct, frozen=True):
    """Workers and queues at one moment (`at`, seconds since 1970)."""

    at: float
    store: str
    workers: list[NodeState]
    queues: list[QueueState]
    #: Queues that hold something and that no living worker serves.
    unserved: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


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


def documents(app: Celery, task_ids: Collection[str]) -> dict[str, Document]:
    """What is stored of these tasks, by id, in one round trip; nothing of those that wait.

    Of a task that runs there is something with `task_track_started`, or once it has called `update_state`.
    """
    found = app.results.get(task_ids)
    return {task_id: app.decode_document(task_id, raw) for task_id, raw in found.items()}
