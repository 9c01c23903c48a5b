"""Changing tasks from the configuration: the setting `task_annotations`.

    app.conf.task_annotations = {"*": {"max_retries": 10}, "proj.add": {"acks_late": False, "@__call__": timed}}

A key is an attribute of the task; one that begins with `@` names a method and is given a decorator for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MethodType
from typing import Any

from celeriac.exceptions import ConfigError
from celeriac.symbols import symbol

__all__ = ["apply", "resolve"]


def resolve(annotations: Any) -> list[Any]:
    """The setting as a list of objects with `annotate(task)` or `annotate_any()`, each of which answers with a dictionary.

    The setting is a dictionary of task names (`*` for all), such an object, the dotted name of a class of them, or a list of
    these. Classes are imported and made here. Raises `ConfigError` for anything else.
    """
    if annotations is None:
        return []
    entries = annotations if isinstance(annotations, (list, tuple)) else [annotations]
    return [_annotation(entry) for entry in entries]


def apply(annotations: list[Any], task: Any) -> None:
    """Set on this task what `resolve` has made of the setting. Once for each task: methods are decorated anew each time.

    Of all that know the task's name the first counts, and of all that say something of every task the first. As in Celery,
    what is said of every task wins where both set the same attribute.
    """
    values = {**_first(annotations, "annotate", task), **_first(annotations, "annotate_any")}
    for key, value in values.items():
        if key.startswith("@"):
            _decorate(task, key[1:], value)
        else:
            setattr(task, key, value)


class _Table:
    """Annotations by the name of the task."""

    def __init__(self, annotations: Mapping[str, Mapping[str, Any]]) -> None:
        self._annotations = annotations

    def annotate(self, task: Any) -> Mapping[str, Any] | None:
        return self._annotations.get(task.name)

    def annotate_any(self) -> Mapping[str, Any] | None:
        return self._annotations.get("*")


def _annotation(entry: Any) -> Any:
    if isinstance(entry, Mapping):
        for name, values in entry.items():
            if not isinstance(values, Mapping):
                raise ConfigError(
                    f"setting task_annotations: {name!r} needs a dictionary of attributes, not {values!r:.80}"
                )
        return _Table(entry)
    if isinstance(entry, str):
        entry = symbol(entry, "task_annotations")()
    if not hasattr(entry, "annotate") and not hasattr(entry, "annotate_any"):
        raise ConfigError(
            f"setting task_annotations: {entry!r:.80} is no dictionary, and has no method annotate(task) or annotate_any()"
        )
    return entry


def _first(annotations: list[Any], method: str, *arguments: Any) -> Mapping[str, Any]:
    for annotation in annotations:
        ask = getattr(annotation, method, None)
        answer = ask(*arguments) if ask is not None else None
        if answer is not None:
            if not isinstance(answer, Mapping):
                raise ConfigError(
                    f"{method} of {annotation!r:.80} must return a dictionary or None, not {answer!r:.80}"
                )
            return answer
    return {}


def _decorate(task: Any, name: str, decorator: Callable[..., Any]) -> None:
    own = vars(task).get(name)
    if own is None:
        # On a class made for this task alone: Python looks for __call__ in the class, and others share the task's.
        kind = type(task)
        method = getattr(kind, name, None)
        if not callable(method):
            raise ConfigError(f"setting task_annotations: task {task.name} has no method {name!r} to decorate")
        decorated = _decorated(method, decorator)
        from inspect import getattr_static

        if isinstance(getattr_static(kind, name), staticmethod):
            decorated = staticmethod(decorated)
        task.__class__ = type(kind.__name__, (kind,), {name: decorated, "__module__": kind.__module__})
    elif isinstance(own, MethodType):
        setattr(task, name, MethodType(_decorated(own.__func__, decorator), own.__self__))
    else:
        setattr(task, name, _decorated(own, decorator))


def _decorated(function: Any, decorator: Callable[..., Any]) -> Any:
    decorated = decorator(function)
    with suppress(AttributeError):  # a built-in, which cannot say what it wraps
        decorated.__wrapped__ = function  # the arguments of a call are checked against the original
    return decorated
