"""Settings of no group: content, time, modules, and what becomes of messages that cannot be run."""

from __future__ import annotations

from celeriac.settings.checks import boolean, integer, names, number, optional, some_names, time_zone
from celeriac.settings.setting import Setting

__all__ = ["GENERAL"]

_MONTH_S = 30 * 86_400.0

GENERAL = (
    Setting("accept_content", ("json",), some_names, "serializers or content types that workers and callers read"),
    Setting("result_accept_content", None, optional(some_names), "the same for results; none: as accept_content"),
    Setting("enable_utc", True, boolean, "without a timezone setting, naive times are UTC (else the machine's)"),
    Setting("imports", (), names, "modules that a worker imports for their tasks"),
    Setting("include", (), names, "more of them"),
    Setting("timezone", None, optional(time_zone), "the time zone of naive times given to eta and expires"),
    Setting("dead_letter_max_age", _MONTH_S, number(0), "seconds after which a dead letter is deleted"),
    Setting("dead_letter_max_size", 10_000, integer(0), "dead letters kept at most; the oldest go first"),
    Setting("max_deliveries", 3, integer(1), "runs that may end in a dead worker before the task is buried"),
    Setting(
        "max_interruptions",
        100,
        integer(0),
        "times a running task may be stopped with its worker, which is no failed attempt, before it is buried",
    ),
    Setting("unknown_task_wait", 300.0, number(0), "seconds a task waits for a worker that knows its name"),
)
