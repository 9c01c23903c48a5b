"""`celeriac report`: what a bug report should say."""

from __future__ import annotations

import platform
import sqlite3
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

import celeriac
from celeriac.cli.context import Context, pass_context
from celeriac.cli.output import json_option, print_json
from celeriac.settings.censoring import shown

__all__ = ["command"]


@click.command()
@json_option
@pass_context
def command(context: Context, as_json: bool) -> None:
    """Print what a bug report should say: versions, platform, and settings with secrets masked.

    JSON: celeriac, python, platform, libraries and, with -A, app, folder, broker, results, tasks, settings (as text).
    """
    facts = _facts(context)
    if as_json:
        print_json(facts)
        return
    settings = facts.pop("settings", None)
    if "app" in facts:
        facts["app"] = f"{facts['app']} (folder {facts.pop('folder')})"
        facts["tasks"] = ", ".join(facts["tasks"]) or "none"
    facts["libraries"] = ", ".join(f"{name} {version}" for name, version in facts["libraries"].items())
    for name, value in facts.items():
        click.echo(f"{name + ':':<11}{value}")
    if settings is not None:
        click.echo("settings:")
        for name, value in settings.items():
            click.echo(f"  {name} = {value}")


def _facts(context: Context) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "celeriac": celeriac.__version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "libraries": {name: _version(name) for name in ("click", "msgspec")} | {"sqlite": sqlite3.sqlite_version},
    }
    if context.app_name is None:
        return facts
    app = context.look_at_app()
    return facts | {
        "app": app.main or context.app_name,
        "folder": app.folder,
        "broker": app.broker.describe(),
        "results": app.results.describe(),
        "tasks": sorted(app.tasks),
        "settings": {name: shown(name, value) for name, value in sorted(app.conf.changed())},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "?"
