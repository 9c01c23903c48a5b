"""What the commands share: the application that `-A` names, and how they print."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from celeriac.app import Celery
from celeriac.exceptions import AppNotFound, ConfigError
from celeriac.loading import load_app

__all__ = ["Context", "ago", "counted", "pass_context", "table"]


@dataclass(frozen=True, slots=True)
class Context:
    """The options before the command."""

    app_name: str | None
    workdir: str | None
    settings: Mapping[str, Any]

    def named_app(self) -> str:
        """What `-A` says; raises `AppNotFound` without it."""
        if self.app_name is None:
            raise AppNotFound(
                "no application was named. Write which module has it, before the command: celeriac -A tasks COMMAND for "
                "tasks.py, or set CELERIAC_APP"
            )
        return self.app_name

    def load_app(self) -> Celery:
        """The application with all its tasks and a store that others see; raises `ConfigError`."""
        app = self.look_at_app()
        if app.broker.describe() == ":memory:":
            raise ConfigError(
                ":memory: is seen by one process only, and this command is a process of its own: name a file in broker_url"
            )
        return app

    def look_at_app(self) -> Celery:
        """The application with all its tasks; raises `AppNotFound`."""
        name = self.named_app()
        if self.workdir is not None:
            os.chdir(self.workdir)
        app = load_app(name)
        app.conf.update(self.settings)
        return app


pass_context = click.make_pass_decorator(Context)


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as they need to be; numbers to the right."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(head), *(len(row[index]) for row in texts)) for index, head in enumerate(heads)]
    numeric = [all(isinstance(row[index], (int, float)) for row in rows) for index in range(len(heads))]

    def line(cells: Sequence[str]) -> str:
        parts = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, numeric, strict=True)
        ]
        return "  ".join(parts).rstrip()

    return "\n".join([line(heads), *(line(row) for row in texts)])


def counted(number: int, noun: str) -> str:
    """`1 task`, `2 tasks`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def ago(seconds: float | None) -> str:
    """A span of time, for people."""
    if seconds is None:
        return "-"
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
