"""Every setting in one typed table, and `app.conf`, which holds their values.

Names and defaults are Celery's where Celery has the setting. Setting a value checks it at once: a wrong type or value is a
`ConfigError` that names the setting, and so is a name that is nearly one of these. Other unknown names are kept, since
plug-ins read theirs from here, with one warning each.
"""

from __future__ import annotations

import difflib
import math
import warnings
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from celeriac.exceptions import CeleriacWarning, ConfigError
from celeriac.retries import RetryPolicy
from celeriac.serialization import CONTENT_TYPES

__all__ = ["SETTINGS", "Setting", "Settings", "closest"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `check` returns the value as it is kept, or raises `ValueError` saying what it should be."""

    name: str
    default: Any
    check: Callable[[Any], Any]
    meaning: str


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("True or False")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a non-empty string")
    return value


def _number(least: float) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        if isinstance(value, timedelta):
            value = value.total_seconds()
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < math.inf:
            raise ValueError(f"a number of at least {least:g} (seconds where it is a time)")
        return value

    return check


def _integer(least: int, most: int | None = None) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if (
            isinstance(value, bool)
            or not isinstance(value, int)
            or value < least
            or (most is not None and value > most)
        ):
            raise ValueError(
                f"a whole number of at least {least}" + (f" and at most {most}" if most is not None else "")
            )
        return value

    return check


def _choice(*allowed: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"one of {', '.join(allowed)}")
        return str(value)

    return check


def _optional(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else check(value)


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError("a dictionary with string keys")
    return dict(value)


def _names(value: Any) -> tuple[str, ...]:
    names = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (None,)
    if not all(isinstance(name, str) for name in names):
        raise ValueError("a list of names")
    return names


def _content(value: Any) -> tuple[str, ...]:
    names = _names(value)
    known = {**CONTENT_TYPES, **{kind: kind for kind in CONTENT_TYPES.values()}}
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ValueError(f"a list of {', '.join(CONTENT_TYPES)} (this version has no {', '.join(unknown) or 'other'})")
    return names


def _time_zone(value: Any) -> str:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo(_text(value))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("the name of a time zone, such as UTC or Europe/Vienna") from None
    return str(value)


def _retry_policy(value: Any) -> dict[str, Any]:
    policy = _mapping(value)
    try:
        RetryPolicy.from_celery(policy)
    except ConfigError as error:
        raise ConfigError(f"setting task_publish_retry_policy: {error}") from None
    return policy


#: Celery's settings that celeriac has no use for and whose names are nearly those of others: no slips of the pen.
_CELERYS = frozenset({"broker_user", "task_default_queue_type", "worker_task_log_format"})
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_DAY_S = 86_400.0
_SERIALIZER = _choice(*CONTENT_TYPES)

SETTINGS: Mapping[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting("accept_content", ("json",), _content, "content types that workers and callers read"),
        Setting(
            "broker_connection_timeout",
            4.0,
            _number(0.05),
            "seconds for a call to the broker to succeed or fail",
        ),
        Setting("broker_transport_options", {}, _mapping, "options of the broker's engine"),
        Setting("broker_url", None, _optional(_text), "the broker; none is a file in the project's .celeriac folder"),
        Setting("dead_letter_max_age", 30 * _DAY_S, _number(0), "seconds after which a dead letter is deleted"),
        Setting("dead_letter_max_size", 10_000, _integer(0), "dead letters kept at most; the oldest go first"),
        Setting("enable_utc", True, _boolean, "without a timezone setting, naive times are UTC (else the machine's)"),
        Setting("imports", (), _names, "modules that a worker imports for their tasks"),
        Setting("include", (), _names, "more of them"),
        Setting("max_deliveries", 3, _integer(1), "runs that may end in a dead worker before the task is buried"),
        Setting("result_backend", None, _optional(_text), "where results are kept; none is the broker's store"),
        Setting("result_backend_transport_options", {}, _mapping, "options of the result store's engine"),
        Setting("result_expires", _DAY_S, _optional(_number(0)), "seconds that results are kept (None or 0: for ever)"),
        Setting("result_serializer", "json", _SERIALIZER, "how results are written"),
        Setting("task_acks_late", True, _boolean, "True: at least once, a lost run is repeated; False: at most once"),
        Setting("task_default_priority", None, _optional(_integer(0, 9)), "0 to 9; 0 is served first"),
        Setting("task_default_queue", "celery", _text, "the queue of tasks that name none"),
        Setting("task_ignore_result", False, _boolean, "keep no results"),
        Setting("task_publish_retry", True, _boolean, "repeat a publish that failed, within broker_connection_timeout"),
        Setting(
            "task_publish_retry_policy",
            {"max_retries": 3, "interval_start": 0, "interval_max": 1, "interval_step": 0.2},
            _retry_policy,
            "how often and when",
        ),
        Setting("task_serializer", "json", _SERIALIZER, "how arguments are written"),
        Setting(
            "task_store_errors_even_if_ignored", False, _boolean, "keep failures of tasks whose results are ignored"
        ),
        Setting("task_track_started", False, _boolean, "store STARTED when a run begins"),
        Setting("timezone", None, _optional(_time_zone), "the time zone of naive times given to eta and expires"),
        Setting(
            "unknown_task_wait",
            300.0,
            _number(0),
            "seconds a task waits for a worker that knows its name",
        ),
        Setting("worker_concurrency", None, _optional(_integer(1)), "tasks at a time; none is one for each processor"),
        Setting(
            "worker_lease",
            15.0,
            _number(0.5),
            "seconds after which a silent worker counts as dead",
        ),
        Setting(
            "worker_log_format",
            "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s",
            _text,
            "the worker's log lines",
        ),
        Setting(
            "worker_pool", "prefork", _choice("prefork", "solo"), "how tasks run: in child processes, or in the worker"
        ),
        Setting("worker_redirect_stdouts", True, _boolean, "what tasks print goes to the log"),
        Setting("worker_redirect_stdouts_level", "WARNING", _choice(*_LEVELS), "at this level"),
        Setting(
            "worker_shutdown_grace",
            25.0,
            _number(0),
            "seconds that running tasks have to finish at a stop",
        ),
    )
}


class Settings:
    """The values of an application: `app.conf`. Read and set as attributes or items; `update` sets many or none."""

    def __init__(self) -> None:
        self.__dict__["_values"] = {}

    def update(self, *mappings: Mapping[str, Any], **values: Any) -> None:
        """Set several; if one of them is wrong none is set."""
        merged: dict[str, Any] = {}
        for mapping in (*mappings, values):
            merged.update(mapping)
        self._values.update({name: _checked(name, value) for name, value in merged.items()})

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a setting, or `default` for a name that is none."""
        try:
            return self[name]
        except KeyError:
            return default

    def changed(self) -> ItemsView[str, Any]:
        """What was set, without defaults."""
        return dict(self._values).items()

    def __getitem__(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        return SETTINGS[name].default

    def __setitem__(self, name: str, value: Any) -> None:
        self._values[name] = _checked(name, value)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no setting {name!r}{_did_you_mean(name)}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __contains__(self, name: str) -> bool:
        return name in self._values or name in SETTINGS

    def __iter__(self) -> Iterator[str]:
        return iter({**dict.fromkeys(SETTINGS), **dict.fromkeys(self._values)})

    def __repr__(self) -> str:
        return f"<Settings {dict(self._values)!r}>"


def closest(name: str, known: Mapping[str, Any] | frozenset[str]) -> str | None:
    """The known name that this one is nearly, or None."""
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.84)
    return near[0] if near else None


def _did_you_mean(name: str) -> str:
    near = closest(name, SETTINGS)
    return f"; did you mean {near!r}?" if near else ""


def _checked(name: str, value: Any) -> Any:
    setting = SETTINGS.get(name)
    if setting is None:
        if name not in _CELERYS and closest(name, SETTINGS):
            raise ConfigError(f"there is no setting {name!r}{_did_you_mean(name)}")
        warnings.warn(f"celeriac has no setting {name!r}; it is kept, and has no effect", CeleriacWarning, stacklevel=4)
        return value
    try:
        return setting.check(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"setting {name} must be {error}, not {value!r}") from None
