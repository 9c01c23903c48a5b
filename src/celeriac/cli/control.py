"""`celeriac control`: Celery's commands to workers, as far as there are some."""

from __future__ import annotations

import click

from celeriac.cli.context import Context, pass_context
from celeriac.cli.grouped import InOrder
from celeriac.cli.output import json_option
from celeriac.cli.revoke import revoke_tasks

__all__ = ["command"]


@click.group(cls=InOrder)
def command() -> None:
    """Revoke and end tasks, in Celery's words.

    `celeriac revoke` does the same, and also lists revocations and takes them back.
    """


@command.command()
@click.argument("task_ids", nargs=-1, required=True)
@json_option
@pass_context
def revoke(context: Context, task_ids: tuple[str, ...], as_json: bool) -> None:
    """Have tasks not run; a run that has begun goes on."""
    revoke_tasks(context.load_app(), task_ids, None, as_json=as_json)


@command.command(short_help="Have tasks not run, also those that have begun.")
@click.argument("signal")
@click.argument("task_ids", nargs=-1, required=True)
@json_option
@pass_context
def terminate(context: Context, signal: str, task_ids: tuple[str, ...], as_json: bool) -> None:
    """Have tasks not run; a run that has begun is ended by SIGNAL, such as SIGTERM."""
    revoke_tasks(context.load_app(), task_ids, signal, as_json=as_json)
