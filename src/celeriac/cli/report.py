"""`celeriac report`: what a bug report should say."""

from __future__ import annotations

import platform
import re
import sqlite3
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

import celeriac
from celeriac.cli.context import Context, pass_context

__all__ = ["command"]

_SECRET = re.compile(r"key|password|secret|token", re.IGNORECASE)
_PASSWORD_IN_URL = re.compile(r"(://[^:/@]*):[^@/]*@")


@click.command()
@pass_context
def command(context: Context) -> None:
    """Print what a bug report should say: versions, platform, and settings with secrets masked."""
    packages = ", ".join(f"{name} {_version(name)}" for name in ("click", "msgspec"))
    click.echo(f"celeriac:  {celeriac.__version__}")
    click.echo(f"python:    {platform.python_implementation()} {platform.python_version()}")
    click.echo(f"platform:  {platform.platform()}")
    click.echo(f"libraries: {packages}, sqlite {sqlite3.sqlite_version}")
    if context.app_name is None:
        return
    app = context.look_at_app()
    click.echo(f"app:       {app.main or context.app_name} (folder {app.folder})")
    click.echo(f"broker:    {app.broker.describe()}")
    click.echo(f"results:   {app.results.describe()}")
    click.echo(f"tasks:     {', '.join(sorted(app.tasks)) or 'none'}")
    click.echo("settings:")
    for name, value in sorted(app.conf.changed()):
        click.echo(f"  {name} = {_masked(name, value)}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "?"


def _masked(name: str, value: Any) -> str:
    if _SECRET.search(name):
        return "********"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {_masked(key, item)}" for key, item in value.items()) + "}"
    return _PASSWORD_IN_URL.sub(r"\1:********@", repr(value))
