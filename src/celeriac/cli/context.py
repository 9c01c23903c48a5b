"""What the commands share: the application that `-A` names, and the options before the command."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import click
import msgspec

from celeriac.app import Celery
from celeriac.exceptions import AppNotFound, ConfigError
from celeriac.loading import load_app

__all__ = ["Context", "pass_context", "split_names"]


class Context(msgspec.Struct, frozen=True):
    """The options before the command."""

    app_name: str | None
    workdir: str | None = None
    config: str | None = None
    quiet: bool = False
    settings: Mapping[str, Any] = msgspec.field(default_factory=dict)

    def named_app(self) -> str:
        """What `-A` says; raises `AppNotFound` without it."""
        if self.app_name is None:
            raise AppNotFound(
                "no application was named. Write which module has it, before the command: celeriac -A tasks COMMAND for "
                "tasks.py, or set CELERIAC_APP"
            )
        return self.app_name

    def go_to_workdir(self) -> None:
        """Relative names mean files there from now on."""
        if self.workdir is not None:
            os.chdir(self.workdir)

    def load_app(self) -> Celery:
        """The application with all its tasks and a store that others see; raises `ConfigError`."""
        app = self.look_at_app()
        if app.broker.describe() == ":memory:":
            raise ConfigError(
                ":memory: is seen by one process only, and this command is a process of its own: name a file in broker_url"
            )
        return app

    def look_at_app(self) -> Celery:
        """The application with all its tasks, or one without any where `-b` is all there is; raises `AppNotFound`."""
        self.go_to_workdir()
        if self.app_name is None and "broker_url" in self.settings:
            app = Celery("celeriac")
            app.conf.override(self.settings)
            return app
        return load_app(self.named_app(), self.config, self.settings)


pass_context = click.make_pass_decorator(Context)


def split_names(text: str | None) -> tuple[str, ...]:
    """`mails, images` as names, each once."""
    return tuple(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))
