"""What calls of a task with the same options have in common: found at the first of them, and kept.

To merge the options of task, settings and routes and to find the queue takes longer than to write the message. What was
found holds until a setting or an option of the task changes, and only where no router looks at more than the name.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from datetime import timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

from celeriac.messages import LOWEST_PRIORITY

if TYPE_CHECKING:
    from celeriac.app import Celery
    from celeriac.task import Task

__all__ = ["CLEARED_BY_NONE", "Prepared", "PreparedCalls", "priority_number"]

#: What a task's attributes say for all its calls.
_OF_THE_TASK = (
    "queue",
    "exchange",
    "routing_key",
    "priority",
    "expires",
    "serializer",
    "compression",
    "time_limit",
    "soft_time_limit",
    "delivery_mode",
)
#: None for one of these takes the task's own away; for other options None is as not given.
CLEARED_BY_NONE = frozenset({"expires", "time_limit", "soft_time_limit"})
#: What many calls have in common. Other options are each call's own, such as its times, ids and callbacks.
_COMMON = frozenset(_OF_THE_TASK) - {"expires"} | {"ignore_result", "exchange_type"}
_MOST_KEPT = 1000

_attributes = attrgetter(*_OF_THE_TASK, "ignore_result")


class Prepared(msgspec.Struct, frozen=True):
    """The part of a message that does not depend on the arguments."""

    queue: str
    headers: Mapping[str, Any]
    serializer: str
    compression: str | None
    #: None when nobody says it: then the caller's own run may, or `default_priority` holds.
    priority: int | None
    default_priority: int
    inherits_priority: bool
    #: Options of each call that task or route say: those of the call come before them.
    options: Mapping[str, Any]


class _Kept(msgspec.Struct, frozen=True):
    prepared: Prepared
    task: Any
    settings: Mapping[str, Any]
    attributes: Any


class PreparedCalls:
    """Those of an application. Thread-safe: what two threads find at once is the same."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._kept: dict[Hashable, _Kept] = {}

    def find(
        self, name: str, task: Task[..., Any] | None, options: Mapping[str, Any], args: Any, kwargs: Any
    ) -> tuple[Prepared, Mapping[str, Any]]:
        """What is common to calls with these options, and the options that are the call's own."""
        common, own = _parted(options) if options else (options, options)
        settings = self._app.conf.values_now
        attributes = None if task is None else _attributes(task)
        key = (name, *[(option, value, type(value)) for option, value in common.items()]) if common else name
        try:
            kept = self._kept.get(key)
        except TypeError:  # an option that cannot be compared, such as a queue object
            return self._prepare(name, task, options, args, kwargs), own
        if (
            kept is not None
            and kept.settings is settings  # replaced at every change
            and kept.task is task
            and kept.attributes == attributes
        ):
            return kept.prepared, own
        if not self._app.routes_by_name:
            return self._prepare(name, task, options, args, kwargs), own
        prepared = self._prepare(name, task, common, args, kwargs)
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[key] = _Kept(prepared, task, settings, attributes)
        return prepared, own

    def _prepare(
        self, name: str, task: Task[..., Any] | None, options: Mapping[str, Any], args: Any, kwargs: Any
    ) -> Prepared:
        conf = self._app.conf.values_now
        options = {option: value for option, value in options.items() if value is not None or option in CLEARED_BY_NONE}
        if task is not None:
            options = {**_defaults(task), **options}
        routed = self._app.route(options, name, args, kwargs, task)
        headers: dict[str, Any] = {"lang": "py", "task": name}
        if routed.get("ignore_result") is not None:
            headers["ignore_result"] = routed["ignore_result"]
        limits = _limits(routed)
        if limits is not None:
            headers["timelimit"] = limits
        priority = routed.get("priority")
        return Prepared(
            routed["queue"],
            headers,
            routed.get("serializer") or conf["task_serializer"],
            routed.get("compression") or conf["task_compression"],
            None if priority is None else priority_number(priority),
            priority_number(conf["task_default_priority"]),
            bool(conf["task_inherit_parent_priority"]),
            {option: value for option, value in routed.items() if option not in _COMMON},
        )


def priority_number(value: Any) -> int:
    """A priority that a message can have; raises `ValueError`."""
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LOWEST_PRIORITY:
        raise ValueError(f"priority must be a whole number from 0 (first) to {LOWEST_PRIORITY}, not {value!r}")
    return value


def _parted(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    common: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for option, value in options.items():
        if value is not None or option in CLEARED_BY_NONE:
            (common if option in _COMMON else own)[option] = value
    return common, own


def _defaults(task: Task[..., Any]) -> dict[str, Any]:
    defaults = {name: value for name in _OF_THE_TASK if (value := getattr(task, name)) is not None}
    defaults["ignore_result"] = task.ignores_result
    return defaults


def _limits(options: Mapping[str, Any]) -> list[Any] | None:
    hard, soft = (_seconds(name, options.get(name)) for name in ("time_limit", "soft_time_limit"))
    if hard is not None and soft is not None and soft > hard:
        raise ValueError(f"soft_time_limit ({soft:g} s) must not be above time_limit ({hard:g} s)")
    return None if hard is None and soft is None else [hard, soft]


def _seconds(option: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ValueError(f"{option} must be a number of seconds above 0, not {value!r}")
    return value
