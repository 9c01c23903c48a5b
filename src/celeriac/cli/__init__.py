"""The command line: `celeriac -A tasks worker`.

One file per command, loaded when it is used, so that `--help` and `call` start fast.
"""

from __future__ import annotations

import difflib
import os
import sys
from importlib import import_module
from typing import Any

import click

import celeriac
from celeriac.cli.elsewhere import ELSEWHERE
from celeriac.cli.errors import exit_status

__all__ = ["cli", "main"]

#: Command -> what `--help` says of it; the module of that name in this folder holds it.
_COMMANDS = {
    "worker": "Run tasks until stopped.",
    "call": "Send a task by name and print its id.",
    "result": "Show what is known of a task by its id.",
    "status": "Show workers and queues.",
    "purge": "Delete what waits in queues.",
    "delayed": "List, show, run or revoke delayed tasks.",
    "dead": "List, show, retry or drop dead letters.",
    "revoke": "Have tasks not run, or end their runs.",
    "control": "Revoke and end tasks, in Celery's words.",
    "recover": "Put the work of dead workers back into its queues.",
    "shell": "Open Python with the application and its tasks.",
    "handback": "Give everything back to Celery's queues.",
    "config": "Show settings and where their values came from.",
    "report": "Print what a bug report should say.",
    "completion": "Print what makes the Tab key complete commands.",
}


class _NotHere(click.ClickException):
    """One of Celery's commands, and what to do without it."""

    exit_code = 2


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"celeriac.cli.{cmd_name}").command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] in ELSEWHERE:
            raise _NotHere(f"celeriac has no {args[0]} in this version: {ELSEWHERE[args[0]]}")
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], _COMMANDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_COMMANDS)}"
            ctx.fail(f"there is no command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Every command has its own --help.",
)
@click.option(
    "-A", "--app", metavar="MODULE", envvar="CELERIAC_APP", help="The application: tasks, proj.celery, proj:app."
)
@click.option("-b", "--broker", metavar="URL", help="Use this broker instead of the application's.")
@click.option("--result-backend", metavar="URL", help="Use this result store instead of the application's.")
@click.option("--config", metavar="MODULE", help="Take settings from this module too; they win over the application's.")
@click.option(
    "--workdir", metavar="FOLDER", type=click.Path(exists=True, file_okay=False), help="Go to this folder first."
)
@click.option("-C", "--no-color", is_flag=True, help="No colours, as with NO_COLOR set or without a terminal.")
@click.option("-q", "--quiet", is_flag=True, help="Only what was asked for: no banner, no notes.")
@click.option("--loader", metavar="NAME", help="Celery's; celeriac has no loaders, so it has no effect.")
@click.option("--skip-checks", is_flag=True, help="Celery's; celeriac runs no Django checks.")
@click.version_option(celeriac.__version__, prog_name="celeriac")
@click.pass_context
def cli(
    context: click.Context,
    app: str | None,
    broker: str | None,
    result_backend: str | None,
    config: str | None,
    workdir: str | None,
    no_color: bool,
    quiet: bool,
    loader: str | None,
    skip_checks: bool,
) -> None:
    """A distributed task queue: run workers, send tasks, look at queues."""
    from celeriac.cli.context import Context
    from celeriac.cli.output import remark

    if no_color:
        os.environ["NO_COLOR"] = "1"  # the worker's processes look there too
    if os.environ.get("NO_COLOR"):
        context.color = False
    settings = {"broker_url": broker, "result_backend": result_backend}
    given = {name: value for name, value in settings.items() if value is not None}
    context.obj = Context(app, workdir, config, quiet, given)
    if loader is not None and not quiet:
        remark("--loader has no effect: celeriac has no loaders, and finds the application by -A alone")


def main() -> None:
    """The `celeriac` script."""
    # Not standalone, click returns the status that a command exits with.
    sys.exit(exit_status(lambda: cli.main(standalone_mode=False)))
