"""Pickle. Reading one runs what its sender wrote into it: callers check first that the application accepts it."""

from __future__ import annotations

import os
import pickle
from io import BytesIO
from typing import Any

from celeriac.serialization.celery_classes import CELERY_CLASSES

__all__ = ["dumps", "loads"]


def dumps(value: Any) -> bytes:
    # kombu's protocol, and its variable to change it: a Celery process may be older than the newest protocol.
    return pickle.dumps(value, protocol=int(os.environ.get("PICKLE_PROTOCOL", "4")))


def loads(raw: bytes) -> Any:
    return _Unpickler(BytesIO(raw)).load()


class _Unpickler(pickle.Unpickler):
    """Finds our class for one of Celery's where Celery is not installed."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return super().find_class(module, name)
        except ModuleNotFoundError:
            own = CELERY_CLASSES.get((module, name))
            if own is None:
                raise
            return own
