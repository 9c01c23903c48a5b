"""`celeriac handback`: move back to Celery."""

from __future__ import annotations

import click

from celeriac.cli.context import Context, pass_context
from celeriac.cli.output import counted, json_option, print_json

__all__ = ["command"]


@click.command()
@click.option(
    "--keep-dead", is_flag=True, help="Leave the dead letters, so that Celery does not run again what failed."
)
@json_option
@pass_context
def command(context: Context, keep_dead: bool, as_json: bool) -> None:
    """Give back to Celery's queues what lies in celeriac's: delayed, leased and dead messages.

    For a project that moves back. Stop all celeriac workers first; the messages then wait where Celery's workers look.
    """
    app = context.load_app()
    moved = app.broker.hand_back(dead=not keep_dead)
    if as_json:
        print_json({"moved": moved})
        return
    click.echo(f"Gave {counted(moved, 'message')} back to the queues of {app.broker.describe()}.")
