"""celeriac: a distributed task queue with Celery's API.

    from celeriac import Celery

    app = Celery("tasks")

    @app.task
    def add(x, y):
        return x + y

Names are loaded when they are first used, so that importing celeriac costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from celeriac.app import Celery
    from celeriac.app.current import current_app, current_task, shared_task
    from celeriac.canvas import Signature, maybe_signature, signature, subtask
    from celeriac.queues import Queue
    from celeriac.result import AsyncResult
    from celeriac.task import Task

__all__ = [
    "VERSION",
    "AsyncResult",
    "Celery",
    "Queue",
    "Signature",
    "Task",
    "__version__",
    "bugreport",
    "current_app",
    "current_task",
    "maybe_signature",
    "shared_task",
    "signature",
    "subtask",
    "uuid",
    "version_info",
]

__version__ = "0.1.0"


class _Version(NamedTuple):
    major: int
    minor: int
    micro: int
    releaselevel: str = ""
    serial: str = ""


version_info = VERSION = _Version(0, 1, 0)

_HOMES = {
    "AsyncResult": "celeriac.result",
    "Celery": "celeriac.app",
    "Queue": "celeriac.queues",
    "Signature": "celeriac.canvas",
    "Task": "celeriac.task",
    "current_app": "celeriac.app.current",
    "current_task": "celeriac.app.current",
    "maybe_signature": "celeriac.canvas",
    "shared_task": "celeriac.app.current",
    "signature": "celeriac.canvas",
    "subtask": "celeriac.canvas",
}


def uuid() -> str:
    """A new task id."""
    from uuid import uuid4

    return str(uuid4())


def bugreport(app: Celery | None = None) -> str:
    """What a bug report should say."""
    from celeriac.app.current import get_current_app

    return (app or get_current_app()).bugreport()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'celeriac' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
