"""The options of `@app.task(...)` in one table: their defaults and what they may be."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping
from datetime import datetime, timedelta
from typing import Any

from celeriac.cautions import warn
from celeriac.exceptions import ConfigError
from celeriac.settings import closest

__all__ = ["OPTIONS", "Option", "check_set", "checked"]


class Option:
    """One option. A default of None means the application's setting; `note` says why it has no effect here."""

    __slots__ = ("check", "default", "note")

    def __init__(self, default: Any, check: Callable[[Any], Any], note: str | None = None) -> None:
        self.default = default
        self.check = check
        self.note = note


def _anything(value: Any) -> Any:
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("True or False")
    return value


def _or_none(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else check(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("a whole number of at least 0")
    return value


def _priority(value: Any) -> int:
    if _count(value) > 9:
        raise ValueError("a whole number from 0 (first) to 9")
    return int(value)


def _seconds(value: Any) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ValueError("a number of seconds")
    return value


def _limit(value: Any) -> float:
    if not _seconds(value) > 0:
        raise ValueError("a number of seconds above 0")
    return _seconds(value)


def _backoff(value: Any) -> Any:
    return value if isinstance(value, bool) else _seconds(value)


def _expiry(value: Any) -> Any:
    if isinstance(value, str):
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("seconds from the call on, or a time like 2026-12-24T18:00") from None
    return value if isinstance(value, (datetime, str)) else _seconds(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a non-empty string")
    return value


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("a dictionary")
    return value


def _classes(value: Any) -> tuple[type[BaseException], ...]:
    kinds = tuple(value) if isinstance(value, Iterable) else (value,)
    if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
        raise ValueError("exception classes, such as (ConnectionError,)")
    return kinds


_FAILED = "failed tasks go to the dead letters; see `celeriac dead`"
_LATER = "this version does not act on it yet"
_INNER = "celeriac's worker is built differently"

OPTIONS: Mapping[str, Option] = {
    "typing": Option(None, _or_none(_boolean)),
    "max_retries": Option(3, _or_none(_count)),
    "default_retry_delay": Option(180, _seconds),
    "autoretry_for": Option((), _classes),
    "dont_autoretry_for": Option((), _classes),
    "retry_kwargs": Option({}, _mapping),
    "retry_backoff": Option(False, _backoff),
    "retry_backoff_max": Option(600, _seconds),
    "retry_jitter": Option(True, _boolean),
    "throws": Option((), _classes),
    "ignore_result": Option(None, _or_none(_boolean)),
    "store_errors_even_if_ignored": Option(None, _or_none(_boolean)),
    "store_eager_result": Option(None, _or_none(_boolean)),
    "track_started": Option(None, _or_none(_boolean)),
    "trail": Option(True, _boolean),
    "resultrepr_maxsize": Option(1024, _count),
    "acks_late": Option(None, _or_none(_boolean)),
    "acks_on_failure_or_timeout": Option(None, _or_none(_boolean)),
    "acks_on_timeout": Option(None, _or_none(_boolean)),
    "reject_on_worker_lost": Option(None, _or_none(_boolean)),
    "retry_on_worker_lost": Option(None, _or_none(_boolean)),
    "time_limit": Option(None, _or_none(_limit)),
    "soft_time_limit": Option(None, _or_none(_limit)),
    "queue": Option(None, _or_none(_anything)),
    "exchange": Option(None, _or_none(_anything)),
    "routing_key": Option(None, _or_none(_text)),
    "priority": Option(None, _or_none(_priority)),
    "expires": Option(None, _or_none(_expiry)),
    "serializer": Option(None, _or_none(_text)),
    "compression": Option(None, _or_none(_text)),
    "pydantic": Option(False, _boolean),
    "pydantic_strict": Option(False, _boolean),
    "pydantic_context": Option(None, _or_none(_mapping)),
    "pydantic_dump_kwargs": Option(None, _or_none(_mapping)),
    "abstract": Option(False, _boolean),
    "delivery_mode": Option(None, _anything),
    # Celery's, without effect:
    "exchange_type": Option(None, _anything, "task_queues declares exchanges"),
    "backend": Option(None, _anything, "all tasks of an application share its result store"),
    "acks_on_failure": Option(None, _anything, _FAILED),
    "rate_limit": Option(None, _anything, _LATER),
    "send_events": Option(True, _anything, _LATER),
    "Strategy": Option(None, _anything, _INNER),
    "Request": Option(None, _anything, _INNER),
}


def checked(task: str, options: Mapping[str, Any], base: type) -> dict[str, Any]:
    """The options of a task as they are kept; raises `ConfigError` naming the one that is wrong.

    Those that its class sets are checked too, and are among them if they are kept otherwise. A name that is nearly an
    option's is an error; another unknown one is kept as an attribute, with a warning, unless the task's base class has it.
    """
    for name in options.keys() - OPTIONS.keys():
        _unknown(task, name, base)
    kept = {name: _checked(task, name, value) if name in OPTIONS else value for name, value in options.items()}
    return {**_of_class(task, base, kept), **kept}


def check_set(task: str, attributes: MutableMapping[str, Any]) -> None:
    """Check the options among attributes that were set on a task, in place; raises `ConfigError`."""
    for name in OPTIONS.keys() & attributes.keys():
        attributes[name] = _checked(task, name, attributes[name])


def _checked(task: str, name: str, value: Any) -> Any:
    option = OPTIONS[name]
    try:
        kept = option.check(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"task {task}: {name} must be {error}, not {value!r}") from None
    if option.note is not None and value != option.default:
        warn(f"task {task}: the option {name!r} has no effect: {option.note}")
    return kept


def _of_class(task: str, base: type, given: Collection[str]) -> dict[str, Any]:
    """Options that the class sets and nothing else does, where they are kept otherwise than they are written there."""
    kept = {}
    for name, option in OPTIONS.items():
        value = getattr(base, name, option.default)
        if (
            name in given or value is option.default or hasattr(value, "__get__")
        ):  # a property is asked when it is needed
            continue
        made = _checked(task, name, value)
        if made is not value:
            kept[name] = made
    return kept


def _unknown(task: str, name: str, base: type) -> None:
    if hasattr(base, name):
        if callable(getattr(base, name)):
            raise ConfigError(f"task {task}: {name!r} is a method of its class, not an option")
        return
    near = closest(name, OPTIONS)
    if near is not None:
        raise ConfigError(f"task {task}: there is no option {name!r}; did you mean {near!r}?")
    warn(f"task {task}: celeriac has no option {name!r}; it is kept as an attribute, and has no effect")
