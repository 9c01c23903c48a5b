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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celeriac.app import Celery
    from celeriac.result import AsyncResult
    from celeriac.task import Task

__all__ = ["AsyncResult", "Celery", "Task", "__version__"]

__version__ = "0.1.0"

_HOMES = {"AsyncResult": "celeriac.result", "Celery": "celeriac.app", "Task": "celeriac.task"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'celeriac' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
