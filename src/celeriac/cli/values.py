"""What options and arguments take: numbers, names, JSON, times; and what the Tab key offers for them."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

import click

if TYPE_CHECKING:
    from celeriac.app import Celery

__all__ = [
    "LEVELS",
    "AutoScale",
    "Concurrency",
    "Duration",
    "Expiry",
    "Json",
    "Moment",
    "Pool",
    "complete_queues",
    "complete_tasks",
]

LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL"]
_POOLS = ["prefork", "processes", "threads", "asyncio", "solo"]
_OTHER_POOLS = {
    "gevent": "celeriac has no gevent pool; write tasks that wait as async def, which every pool runs",
    "eventlet": "celeriac has no eventlet pool; write tasks that wait as async def, which every pool runs",
    "custom": "celeriac has no pools of one's own; it has prefork, threads, asyncio and solo",
}


class Pool(click.Choice[str]):
    """A pool by its name or Celery's alias."""

    def __init__(self) -> None:
        super().__init__(_POOLS)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in _OTHER_POOLS:
            self.fail(_OTHER_POOLS[value], param, ctx)
        pool = super().convert(value, param, ctx)
        return "prefork" if pool == "processes" else pool


class Concurrency(click.ParamType[int]):
    """1 or more, or auto."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if value == "auto":
            return _processors()
        try:
            number = int(value)
        except ValueError:
            number = 0
        if number < 1:
            self.fail(
                f"{value!r} is not a number of processes; write 1 or more, or auto for one per processor", param, ctx
            )
        return number


def _processors() -> int:
    """Those that we may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


class AutoScale(click.ParamType[int]):
    """Celery's `10,3` or `10`: the larger number."""

    name = "max,min"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            largest = max(int(part) for part in str(value).split(","))
        except ValueError:
            largest = 0
        if largest < 1:
            self.fail(f"{value!r} is not two numbers of processes; write most and least, like 10,3", param, ctx)
        return largest


class Json(click.ParamType[Any]):
    """A JSON document of one kind."""

    def __init__(self, kind: type, example: str) -> None:
        self.name = "json"
        self._kind = kind
        self._example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            parsed = json.loads(value)
        except ValueError as error:
            self.fail(f"{value!r} is not JSON ({error}); write it like {self._example}", param, ctx)
        if not isinstance(parsed, self._kind):
            kind = "list" if self._kind is list else "object"
            self.fail(f"{value!r} is not a JSON {kind}; write it like {self._example}", param, ctx)
        return parsed


class Moment(click.ParamType[Any]):
    """An ISO 8601 time."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            self.fail(
                f"{value!r} is not a time; write it like 2026-12-24T18:00 (the application's zone) or with +01:00"
            )


class Expiry(Moment):
    """The same, or seconds from now."""

    name = "time or seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return float(value)
        except ValueError:
            return super().convert(value, param, ctx)


class Duration(click.ParamType[float]):
    """A number with a unit, or of seconds."""

    name = "time"
    _UNITS_S: ClassVar = {"s": 1, "m": 60, "h": 3600, "d": 86400}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number, unit = (value[:-1], value[-1]) if value[-1:] in self._UNITS_S else (value, "s")
        try:
            return float(number) * self._UNITS_S[unit]
        except ValueError:
            self.fail(f"{value!r} is not a time; write it like 90s, 15m, 2h or 7d", param, ctx)


def complete_queues(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The queues of the store, also behind a comma."""
    before, comma, last = incomplete.rpartition(",")
    names = _asked(ctx, lambda app: [app.conf.task_default_queue, *(queue.name for queue in app.broker.queues())])
    return [f"{before}{comma}{name}" for name in names if name.startswith(last)]


def complete_tasks(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The application's tasks."""
    return [name for name in _asked(ctx, lambda app: app.tasks) if name.startswith(incomplete)]


def _asked(ctx: click.Context, question: Callable[[Celery], Iterable[str]]) -> list[str]:
    """What the application answers; nothing when it cannot, since nobody reads errors at a Tab."""
    from celeriac.cli.context import Context

    given = ctx.find_root().params
    settings = {"broker_url": given.get("broker")} if given.get("broker") else {}
    context = Context(given.get("app"), given.get("workdir"), given.get("config"), settings=settings)
    nowhere = io.StringIO()
    with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        try:
            app = context.look_at_app()
            app.conf.broker_connection_timeout = 1.0
            return sorted(set(question(app)))
        except Exception:
            return []
