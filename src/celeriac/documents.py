"""The stored result of a task, in Celery's form, and exceptions as data.

A document is a JSON object under the task's id: status, result, traceback, children, date_done, task_id (celery 5.7,
celery/backends/base.py). An exception is stored as its class's name and module and its arguments. Reading one never
imports a module: a class that is not loaded here becomes a `RemoteError` of the same name.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

from celeriac import exceptions, serialization, states
from celeriac.exceptions import DecodeError, RemoteError, RemoteTraceback, ResultError

__all__ = ["Document", "describe_exception", "rebuild_exception"]

_LONGEST_REPR = 1024

#: Where Celery has the same exceptions: what is written, so that its clients find their own class.
_CELERYS_MODULES: dict[type[BaseException], str] = {
    exceptions.EncodeError: "kombu.exceptions",
    exceptions.MaxRetriesExceededError: "celery.exceptions",
    exceptions.NotRegistered: "celery.exceptions",
    exceptions.Retry: "celery.exceptions",
    exceptions.TaskRevokedError: "celery.exceptions",
    exceptions.TimeoutError: "celery.exceptions",
    exceptions.WorkerLostError: "billiard.exceptions",
}
_OWN_CLASSES = {(module, kind.__qualname__): kind for kind, module in _CELERYS_MODULES.items()}


@dataclass(frozen=True, slots=True)
class Document:
    """What is known of one task. `result` is the value, the described exception, or a custom state's meta."""

    task_id: str
    status: str
    result: Any = None
    traceback: str | None = None
    date_done: str | None = None
    children: list[Any] = field(default_factory=list)
    parent_id: str | None = None

    def encode(self) -> bytes:
        """The document as bytes; raises `EncodeError` when the result cannot be written."""
        content = {
            "status": self.status,
            "result": self.result,
            "traceback": self.traceback,
            "children": self.children,
            "date_done": self.date_done,
            "task_id": self.task_id,
        }
        if self.parent_id is not None:
            content["parent_id"] = self.parent_id
        return serialization.dumps(content)

    @classmethod
    def decode(cls, task_id: str, raw: bytes) -> Document:
        """The document in these bytes; raises `ResultError` naming the task."""
        try:
            content = serialization.loads(raw)
        except DecodeError as error:
            raise ResultError(f"the stored result of {task_id} cannot be read: {error}") from None
        if not isinstance(content, dict) or not isinstance(content.get("status"), str):
            raise ResultError(f"the stored result of {task_id} is not a result document")
        return cls(
            task_id=task_id,
            status=content["status"],
            result=content.get("result"),
            traceback=content.get("traceback"),
            date_done=content.get("date_done"),
            children=content.get("children") or [],
            parent_id=content.get("parent_id"),
        )

    @property
    def ready(self) -> bool:
        """Whether the task has ended."""
        return self.status in states.READY_STATES

    def value(self) -> Any:
        """The result as the task's caller sees it: an exception where one is stored."""
        if self.status in states.EXCEPTION_STATES:
            return rebuild_exception(self.result, self.traceback)
        return self.result


def describe_exception(error: BaseException) -> dict[str, Any]:
    """An exception as data; arguments that cannot be written are replaced by their repr."""
    kind = type(error)
    return {
        "exc_type": kind.__qualname__,
        "exc_message": [
            argument if serialization.unencodable(argument) is None else _safe_repr(argument) for argument in error.args
        ],
        "exc_module": _CELERYS_MODULES.get(kind, kind.__module__),
    }


def rebuild_exception(described: Any, traceback: str | None = None) -> Exception:
    """The exception of its own class where that is loaded here, with the remote traceback as its cause."""
    if not isinstance(described, dict) or not isinstance(described.get("exc_type"), str):
        error: Exception = RemoteError(described)
    else:
        message = described.get("exc_message")
        arguments = list(message) if isinstance(message, (list, tuple)) else [message]
        error = _instance(_find_class(described.get("exc_module"), described["exc_type"]), arguments)
    if traceback:
        error.__cause__ = RemoteTraceback(traceback)
    return error


def _find_class(module: Any, name: str) -> type[Exception]:
    own = _OWN_CLASSES.get((module, name)) if isinstance(module, str) else None
    if own is not None and issubclass(own, Exception):
        return own
    found: Any = sys.modules.get(module) if isinstance(module, str) else None
    for part in name.split("."):
        # Not getattr: a module may offer names that it imports when they are asked for.
        found = getattr(found, "__dict__", {}).get(part)
    # Only exceptions: a stored document must not be able to name os.system. Only Exception: a task that called
    # sys.exit() must not end the process that asks for its result.
    if isinstance(found, type) and issubclass(found, Exception):
        return found
    try:
        return type(
            name.rpartition(".")[2], (RemoteError,), {"__module__": module if isinstance(module, str) else __name__}
        )
    except ValueError:  # a name that no class can have
        return RemoteError


def _instance(kind: type[Exception], arguments: list[Any]) -> Exception:
    try:
        return kind(*arguments)
    except Exception:  # its __init__ takes other arguments than it keeps in .args: the class and the args still tell
        try:
            error = kind.__new__(kind, *arguments)
            error.args = tuple(arguments)
        except Exception:
            return RemoteError(f"{kind.__qualname__}: {', '.join(map(str, arguments))}")
        return error


def _safe_repr(value: Any) -> str:
    try:
        return repr(value)[:_LONGEST_REPR]
    except Exception as error:  # a broken __repr__ must not hide the exception it belongs to
        return f"<{type(value).__qualname__}, whose repr raises {type(error).__name__}>"
