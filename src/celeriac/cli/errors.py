"""How a command ends: errors are one line that says what to do, and an exit status."""

from __future__ import annotations

from collections.abc import Callable

import click

from celeriac.exceptions import CeleriacError

__all__ = ["exit_status"]


def exit_status(run: Callable[[], int | None]) -> int:
    """What `run` returns, or 0; an error is shown and becomes 1, a slip in the words of the command 2."""
    try:
        return run() or 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        _told_in_full(error).show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        # click makes an Abort of Ctrl-C too; only a question that was not answered by yes comes before any change.
        asked = isinstance(error, click.Abort) and error.__cause__ is None
        click.echo("Stopped; nothing was changed." if asked else "Stopped.", err=True)
        return 130
    except BrokenPipeError:
        return 141
    except CeleriacError as error:
        _print_users_error(error)
        click.echo(f"Error: {error}", err=True)
        return 1


def _told_in_full(error: click.ClickException) -> click.ClickException:
    """Until Celery 5 `-A` could follow the command, and many still write it there."""
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        for parameter in error.ctx.find_root().command.params:
            if error.option_name in parameter.opts:
                words = ("celeriac", error.option_name, parameter.metavar, error.ctx.info_name)
                example = " ".join(word for word in words if word)
                return click.UsageError(f"{error.option_name} belongs before the command: {example}", error.ctx)
    return error


def _print_users_error(error: CeleriacError) -> None:
    """Where the cause is the user's own code, its traceback helps."""
    from celeriac.loading import AppImportError

    if isinstance(error, AppImportError):
        error.print_cause()
