"""When a task that raised is tried again by itself: `autoretry_for` and its companions."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from celeriac.exceptions import Ignore, Reject, Retry
from celeriac.retries import exponential_backoff_s

if TYPE_CHECKING:
    from celeriac.runs import Run
    from celeriac.task.definition import Task

__all__ = ["autoretry_options", "retries_by_itself"]


def retries_by_itself(task: Task[..., Any], error: BaseException) -> bool:
    """Whether the task asks for a retry at this exception."""
    return (
        bool(task.autoretry_for)
        and isinstance(error, tuple(task.autoretry_for))
        and not isinstance(error, (Ignore, Reject, Retry, *task.dont_autoretry_for))
    )


def autoretry_options(task: Task[..., Any], run: Run) -> dict[str, Any]:
    """What such a retry passes to `Task.retry`."""
    options = dict(task.retry_kwargs)
    if run.max_retries is not None:
        options["max_retries"] = run.max_retries
    if task.retry_backoff:
        options["countdown"] = exponential_backoff_s(
            factor=int(max(1.0, task.retry_backoff)),
            retries=run.context.retries,
            maximum=task.retry_backoff_max,
            full_jitter=task.retry_jitter,
            randrange=random.randrange,
        )
    return options
