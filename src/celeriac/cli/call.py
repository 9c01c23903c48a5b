"""`celeriac call`: send a task by name."""

from __future__ import annotations

from typing import Any

import click

from celeriac.cli.context import Context, pass_context
from celeriac.cli.output import json_option, print_json
from celeriac.cli.values import Expiry, Json, Moment, complete_queues, complete_tasks
from celeriac.exceptions import NotRegistered

__all__ = ["command"]


@click.command()
@click.argument("name", shell_complete=complete_tasks)
@click.option("-a", "--args", type=Json(list, "'[4, 4]'"), metavar="JSON", help="Positional arguments: '[4, 4]'.")
@click.option(
    "-k", "--kwargs", type=Json(dict, "'{\"x\": 4}'"), metavar="JSON", help="Keyword arguments: '{\"x\": 4}'."
)
@click.option("--countdown", type=float, metavar="SECONDS", help="Start not before so many seconds from now.")
@click.option("--eta", type=Moment(), metavar="TIME", help="Start not before this time (ISO 8601).")
@click.option(
    "--expires", type=Expiry(), metavar="TIME", help="Do not start after this time, or so many seconds from now."
)
@click.option("--queue", metavar="NAME", shell_complete=complete_queues, help="Send it to this queue.")
@click.option("--priority", type=click.IntRange(0, 9), metavar="0-9", help="0 is served first.")
@click.option("--serializer", metavar="NAME", help="How the arguments are written: json, ...")
@click.option("--exchange", metavar="NAME", help="Send it to this exchange.")
@click.option("--routing-key", metavar="KEY", help="With this routing key.")
@click.option("--send-anyway", is_flag=True, help="Even if the application has no such task: another one's worker may.")
@json_option
@pass_context
def command(
    context: Context,
    /,
    name: str,
    args: list[Any] | None,
    kwargs: dict[str, Any] | None,
    send_anyway: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Send the task NAME and print its id.

    With -b URL and no -A it is sent unchecked. JSON: task_id and task.
    """
    app = context.load_app()
    given = {option: value for option, value in options.items() if value is not None}
    try:
        if name not in app.tasks and (send_anyway or context.app_name is None):
            result = app.send_task(name, args, kwargs, **given)
        else:
            result = app.find_task(name).apply_async(args, kwargs, **given)
    except NotRegistered as error:
        raise NotRegistered(f"{error} (--send-anyway sends it all the same)") from None
    except (TypeError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        print_json({"task_id": result.id, "task": name})
    else:
        click.echo(result.id)
