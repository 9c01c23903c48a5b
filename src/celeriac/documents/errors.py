"""Exceptions as data.

An exception is stored as its class's name and module and its arguments; by pickle, where it pickles, as itself. Reading
the former never imports a module: a class that is not loaded here becomes a `RemoteError` of the same name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from celeriac import serialization
from celeriac.exceptions import DecodeError, EncodeError, RemoteError, RemoteTraceback
from celeriac.serialization.celery_classes import CELERY_CLASSES, CELERY_MODULES

__all__ = ["describe_exception", "rebuild_exception"]

_LONGEST_REPR = 1024


def describe_exception(error: BaseException, serializer: str = "json") -> Any:
    """An exception as the serializer can write it; arguments that it cannot write are replaced by their repr."""
    pickled = serializer == "pickle"
    kind = type(error)
    # One of our own is always data: Celery's processes know it by another name.
    if pickled and not kind.__module__.startswith("celeriac.") and _pickles(error):
        return error
    fits: Callable[[Any], bool] = _pickles if pickled else lambda value: _fits(value, serializer)
    return {
        "exc_type": kind.__qualname__,
        "exc_message": [argument if fits(argument) else _safe_repr(argument) for argument in _arguments(error)],
        "exc_module": CELERY_MODULES.get(kind, kind.__module__),
    }


def rebuild_exception(described: Any, traceback: str | None = None) -> Exception:
    """The exception of its own class where that is loaded here, with the remote traceback as its cause."""
    error = _restored(described) if isinstance(described, BaseException) else _made(described)
    if traceback:
        error.__cause__ = RemoteTraceback(traceback)
    return error


def _arguments(error: BaseException) -> tuple[Any, ...]:
    """Its arguments; its text where it has none and cannot be made again without (pydantic's ValidationError)."""
    if error.args or type(error).__str__ is BaseException.__str__:
        return error.args
    try:
        type(error)()
    except Exception:
        try:
            return (str(error),)
        except Exception:
            return ()
    return ()


def _fits(value: Any, serializer: str) -> bool:
    return serialization.unencodable(value, serializer) is None


def _pickles(value: Any) -> bool:
    """There and back: much that can be pickled cannot be read again, exceptions above all."""
    try:
        serialization.decode(serialization.encode(value, "pickle").data, serialization.PICKLE_TYPE, "binary")
    except (EncodeError, DecodeError):
        return False
    return True


def _made(described: Any) -> Exception:
    if not isinstance(described, dict) or not isinstance(described.get("exc_type"), str):
        return RemoteError(described)
    message = described.get("exc_message")
    arguments = list(message) if isinstance(message, (list, tuple)) else [message]
    return _instance(_find_class(described.get("exc_module"), described["exc_type"]), arguments)


def _restored(error: BaseException) -> Exception:
    """The exception that was pickled; the one that Celery wrapped where it did not pickle."""
    kind = type(error)
    # By name: where Celery is installed the wrapper is Celery's own class.
    if kind.__name__ == "UnpickleableExceptionWrapper" and len(error.args) >= 3 and isinstance(error.args[1], str):
        module, name, arguments = error.args[:3]
        return _instance(_find_class(module, name), list(arguments))
    if isinstance(error, Exception):
        return error
    return _instance(_find_class(kind.__module__, kind.__qualname__), list(error.args))


def _find_class(module: Any, name: str) -> type[Exception]:
    own = CELERY_CLASSES.get((module, name)) if isinstance(module, str) else None
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
