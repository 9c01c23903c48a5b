"""The command line: `celeriac -A tasks worker`.

One file per command, loaded when it is used, so that `--help` and `call` start fast.
"""

from __future__ import annotations

import difflib
import sys
from importlib import import_module
from typing import Any

import click

import celeriac
from celeriac.cli.context import Context
from celeriac.exceptions import CeleriacError

__all__ = ["cli", "main"]

#: Command -> what `--help` says of it; the module of that name in this folder holds it.
_COMMANDS = {
    "worker": "Run tasks until stopped.",
    "call": "Send a task by name and print its id.",
    "result": "Show what is known of a task by its id.",
    "status": "Show workers and queues.",
    "purge": "Delete what waits in queues.",
    "dead": "List, show, retry or drop dead letters.",
    "handback": "Give everything back to Celery's queues.",
    "report": "Print what a bug report should say.",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"celeriac.cli.{cmd_name}").command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
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
@click.option(
    "--workdir", metavar="FOLDER", type=click.Path(exists=True, file_okay=False), help="Go to this folder first."
)
@click.version_option(celeriac.__version__, prog_name="celeriac")
@click.pass_context
def cli(
    context: click.Context, app: str | None, broker: str | None, result_backend: str | None, workdir: str | None
) -> None:
    """A distributed task queue: run workers, send tasks, look at queues."""
    settings = {"broker_url": broker, "result_backend": result_backend}
    context.obj = Context(app, workdir, {name: value for name, value in settings.items() if value is not None})


def main() -> None:
    """The `celeriac` script: errors are one line that says what to do, and exit status 1."""
    try:
        # Not standalone, click returns the status that a command exits with.
        sys.exit(cli.main(standalone_mode=False))
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.ClickException as error:
        _told_in_full(error).show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped; nothing was changed.", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)
    except CeleriacError as error:
        _print_users_error(error)
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)


def _told_in_full(error: click.ClickException) -> click.ClickException:
    """Until Celery 5 `-A` could follow the command, and many still write it there."""
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        for parameter in cli.params:
            if error.option_name in parameter.opts:
                example = f"celeriac {error.option_name} {parameter.metavar or ''} {error.ctx.info_name}"
                return click.UsageError(f"{error.option_name} belongs before the command: {example}", error.ctx)
    return error


def _print_users_error(error: CeleriacError) -> None:
    """Where the cause is the user's own code, its traceback helps."""
    from celeriac.loading import AppImportError

    if isinstance(error, AppImportError):
        error.print_cause()
