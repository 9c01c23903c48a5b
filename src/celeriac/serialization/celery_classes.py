"""Classes of Celery's that stand in stored results, and ours that take their place."""

from __future__ import annotations

from collections.abc import Mapping

from celeriac import exceptions

__all__ = ["CELERY_CLASSES", "CELERY_MODULES", "UnpickleableExceptionWrapper"]

#: Where Celery has the same exceptions: what is written, so that its clients find their own class.
CELERY_MODULES: Mapping[type[BaseException], str] = {
    exceptions.EncodeError: "kombu.exceptions",
    exceptions.MaxRetriesExceededError: "celery.exceptions",
    exceptions.NotRegistered: "celery.exceptions",
    exceptions.Reject: "celery.exceptions",
    exceptions.Retry: "celery.exceptions",
    exceptions.SoftTimeLimitExceeded: "billiard.exceptions",
    exceptions.TaskRevokedError: "celery.exceptions",
    exceptions.TimeLimitExceeded: "billiard.exceptions",
    exceptions.TimeoutError: "celery.exceptions",
    exceptions.WorkerLostError: "billiard.exceptions",
}


class UnpickleableExceptionWrapper(Exception):
    """What Celery pickles in place of an exception that does not pickle: its module, name, arguments and text."""


#: (module, name) as Celery writes them -> our class.
CELERY_CLASSES: Mapping[tuple[str, str], type[BaseException]] = {
    **{(module, kind.__qualname__): kind for kind, module in CELERY_MODULES.items()},
    ("celery.utils.serialization", "UnpickleableExceptionWrapper"): UnpickleableExceptionWrapper,
}
