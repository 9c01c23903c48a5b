"""What the tasks want done with their lost runs: Celery's options, for the supervisor, which has no tasks."""

from __future__ import annotations

from typing import Any

from celeriac.app import Celery
from celeriac.task import Task
from celeriac.worker.recovery import DEFAULT_POLICY, Policy

__all__ = ["policies"]


def policies(app: Celery) -> dict[str, Policy]:
    """By name of the task, where it is not the usual."""
    found = {name: _policy(app, task) for name, task in app.tasks.items()}
    return {name: policy for name, policy in found.items() if policy != DEFAULT_POLICY}


def _policy(app: Celery, task: Task[..., Any]) -> Policy:
    # In Celery's order: what is about time-outs alone wins over what is about failures too, wherever it is set.
    conf = app.conf
    return Policy(
        repeat=_first(task.reject_on_worker_lost, conf.task_reject_on_worker_lost, True),
        retry=_first(task.retry_on_worker_lost, conf.task_retry_on_worker_lost),
        repeat_at_limit=not _first(
            task.acks_on_timeout,
            conf.task_acks_on_timeout,
            task.acks_on_failure_or_timeout,
            conf.task_acks_on_failure_or_timeout,
        ),
    )


def _first(*values: bool | None) -> bool:
    return next(bool(value) for value in values if value is not None)
