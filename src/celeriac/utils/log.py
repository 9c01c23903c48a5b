"""Loggers for tasks: in a worker their lines name the task and its id.

logger = get_task_logger(__name__)

@app.task
def add(x, y):
    logger.info("Adding %s and %s", x, y)
"""

from __future__ import annotations

import logging

__all__ = ["TASK_LOGGER", "get_logger", "get_task_logger"]

#: What all task loggers are below. Celery's name, as that is what logging configurations speak of.
TASK_LOGGER = "celery.task"

_RESERVED = ("celery", TASK_LOGGER)


def get_logger(name: str | logging.Logger) -> logging.Logger:
    """The logger of this name, as `logging.getLogger`; a logger is returned as it is."""
    return name if isinstance(name, logging.Logger) else logging.getLogger(name)


def get_task_logger(name: str) -> logging.Logger:
    """The logger of this name, below `celery.task`: a worker writes its lines by `worker_task_log_format`.

    Its parent is changed for good, whatever the name says, so handlers of a parent by name see nothing of it. Raises
    `RuntimeError` for the names `celery` and `celery.task` themselves.
    """
    if name in _RESERVED:
        raise RuntimeError(
            f"the logger {name!r} is the parent of task loggers, so none of them can have its name; "
            "use get_task_logger(__name__)"
        )
    logger = logging.getLogger(name)
    parent = logging.getLogger(TASK_LOGGER)
    ancestor: logging.Logger | None = logger
    while ancestor is not None and ancestor is not parent:
        ancestor = ancestor.parent
    if ancestor is None:
        logger.parent = parent
    return logger
