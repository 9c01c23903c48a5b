"""Every error celeriac raises, in one tree.

    CeleriacError
    ├── ConfigError            a setting, option, name or file is wrong; the message says which and what to write instead
    │   └── AppNotFound        `-A ...` led to no application
    ├── BrokerError
    │   ├── OperationalError   the store is away, locked or full; the same call may succeed later
    │   ├── PartlyPublished    of messages published together some are stored and others were refused
    │   └── StoreTooNew        a newer celeriac has upgraded the store so that this one cannot use it
    ├── TaskError
    │   ├── EncodeError        an argument or a return value cannot be written (also a TypeError)
    │   ├── DecodeError        bytes that are no message, or content that is not accepted (also a ValueError)
    │   ├── NotRegistered      no task of that name in this application (also a KeyError)
    │   ├── AlreadyRegistered  two tasks of one name
    │   ├── IncompleteStream   results of a task that has not ended
    │   ├── InvalidTaskError   a message or a signature that is no call of a task
    │   ├── QueueNotFound      no queue of that name, or none that a route leads to (also a KeyError)
    │   ├── MaxRetriesExceededError
    │   ├── TaskRevokedError   revoked, or expired before it began
    │   ├── TimeoutError       `get(timeout=...)` ran out (also the builtin TimeoutError)
    │   ├── SoftTimeLimitExceeded  raised inside a task that takes longer than its soft time limit
    │   ├── TimeLimitExceeded  the task was ended at its hard time limit
    │   ├── WorkerLostError    the process that ran the task died
    │   ├── LeaseLost          raised inside a task that has been given to another worker meanwhile
    │   └── RemoteError        a task's exception whose class this process does not have
    ├── ResultError            a stored result cannot be read
    └── TaskPredicate          raised in a task to say how it ends; no failures
        ├── Ignore             the run ends without a result
        ├── Reject             the message goes to the dead letters, or back to its queue
        └── Retry              raised by `self.retry()`: the task runs again

Outside of it stands `Terminated`, which ends a run whatever that catches.
Celery's names for the same things (`CeleryError`, `ImproperlyConfigured`, `BackendError`) are the same classes.
All of them pickle.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

__all__ = [
    "AlreadyRegistered",
    "AlwaysEagerIgnored",
    "AppNotFound",
    "BackendError",
    "BrokerError",
    "CeleriacError",
    "CeleriacWarning",
    "CeleryError",
    "CeleryWarning",
    "ConfigError",
    "DecodeError",
    "DuplicateTaskNameWarning",
    "EncodeError",
    "Ignore",
    "ImproperlyConfigured",
    "IncompleteStream",
    "InvalidTaskError",
    "LeaseLost",
    "MaxRetriesExceededError",
    "NotRegistered",
    "OperationalError",
    "PartlyPublished",
    "Reject",
    "QueueNotFound",
    "RemoteError",
    "RemoteTraceback",
    "ResultError",
    "Retry",
    "RetryTaskError",
    "SoftTimeLimitExceeded",
    "StoreTooNew",
    "TaskError",
    "TaskPredicate",
    "TaskRevokedError",
    "Terminated",
    "TimeLimitExceeded",
    "TimeoutError",
    "WorkerLostError",
]


class CeleriacError(Exception):
    """The root: `except CeleriacError` catches whatever celeriac raises by itself."""


class ConfigError(CeleriacError):
    """Something was written wrong: a setting, an option, a name, a path."""


class AppNotFound(ConfigError):
    """No application was found where one was looked for."""


class BrokerError(CeleriacError):
    """The broker refused, and will go on refusing until something is changed."""


class OperationalError(BrokerError):
    """The broker or result store cannot be reached or used now; nothing was done, or it was done once."""


class PartlyPublished(BrokerError):
    """Of messages that were published together, those of some queues are stored and those of another were refused."""


class StoreTooNew(BrokerError):
    """A newer celeriac has upgraded the store; this one cannot use it any more, and workers of this version end."""


class TaskError(CeleriacError):
    """About one task."""


class EncodeError(TaskError, TypeError):
    """A value cannot be written by the serializer."""


class DecodeError(TaskError, ValueError):
    """Bytes cannot be read as what they claim to be."""


class NotRegistered(TaskError, KeyError):
    """No task of this name is known here."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class AlreadyRegistered(TaskError):
    """Another task of this name is registered."""


class IncompleteStream(TaskError):
    """What a task calls is not known before it has ended."""


class InvalidTaskError(TaskError):
    """This is no call of a task."""


class QueueNotFound(TaskError, KeyError):
    """There is no queue of this name, or none that the route leads to."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class MaxRetriesExceededError(TaskError):
    """The task was retried as often as `max_retries` allows. Knows the arguments of the run that gave up."""

    def __init__(
        self, *args: object, task_args: Sequence[Any] = (), task_kwargs: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(*args)
        self.task_args = task_args
        self.task_kwargs = task_kwargs or {}


class TaskRevokedError(TaskError):
    """The task was revoked or expired, and did not run."""


class TimeoutError(TaskError, builtins.TimeoutError):
    """The result did not come in time."""


class SoftTimeLimitExceeded(TaskError):
    """Raised inside a task whose soft time limit is over, so that it can clean up; it may catch it and return."""

    def __str__(self) -> str:
        return f"SoftTimeLimitExceeded{self.args!r}"


class TimeLimitExceeded(TaskError):
    """The task ran longer than its hard time limit (seconds), and was ended."""

    def __str__(self) -> str:
        return f"TimeLimitExceeded{self.args!r}"


class WorkerLostError(TaskError):
    """The process that ran the task died, as often as the task may be tried."""


class LeaseLost(TaskError):
    """Raised inside a task whose worker was taken for dead: another one runs it again, and this run changes nothing more."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else "its lease has gone to another worker, which runs it again"


class RemoteError(TaskError):
    """A task raised an exception whose class is not loaded here; its own name is the class's name."""


class RemoteTraceback(CeleriacError):
    """Carries the traceback of another process as text; the `__cause__` of an exception that `get()` raises."""

    def __str__(self) -> str:
        return f"\n\n{self.args[0]}" if self.args else ""


class ResultError(CeleriacError):
    """A stored result cannot be read, or there is no result store."""


class TaskPredicate(CeleriacError):
    """Raised in a task to say how it ends; not a failure."""


class Ignore(TaskPredicate):
    """Raised in a task: the run ends here, nothing is stored, and whoever waits goes on waiting."""


class Reject(TaskPredicate):
    """Raised in a task: put the message to the dead letters, or back to its queue (`requeue`). Nothing is stored."""

    def __init__(self, reason: object = None, requeue: bool = False) -> None:
        super().__init__(reason, requeue)
        self.reason = reason
        self.requeue = requeue

    def __str__(self) -> str:
        return f"reject requeue={self.requeue}: {self.reason}"


class Retry(TaskPredicate):
    """Raised by `self.retry()`: run the task again later.

    `exc` is the exception that was the reason, if any; `when` the time of the next try (aware) or the seconds until it.
    """

    def __init__(
        self, message: str | None = None, exc: BaseException | None = None, when: datetime | float | None = None
    ) -> None:
        super().__init__(message, exc, when)
        self.message = message
        self.exc = exc
        self.when = when

    def humanize(self) -> str:
        """When the next try is, for people."""
        if isinstance(self.when, datetime):
            return f"at {self.when.isoformat(sep=' ', timespec='seconds')}"
        return f"in {self.when:g}s" if self.when is not None else "now"

    def __str__(self) -> str:
        if self.message:
            return self.message
        reason = f": {self.exc!r}" if self.exc is not None else ""
        return f"Retry {self.humanize()}{reason}"


class Terminated(BaseException):
    """Raised inside a run that was revoked with `terminate`, so that its `finally` blocks run. Do not catch it.

    No `Exception`, as `except Exception` in a task is meant for other things; in a coroutine a cancellation stands for it.
    """

    def __init__(self, signum: int | None = None) -> None:
        super().__init__(signum)
        self.signum = signum


class CeleriacWarning(UserWarning):
    """Something that works, but probably not as meant."""


class AlwaysEagerIgnored(CeleriacWarning):
    """`task_always_eager` has no effect on a task that is sent by its name alone."""


class DuplicateTaskNameWarning(CeleriacWarning):
    """A task replaces another one of the same name."""


CeleryError = CeleriacError
CeleryWarning = CeleriacWarning
ImproperlyConfigured = ConfigError
BackendError = ResultError
RetryTaskError = Retry
