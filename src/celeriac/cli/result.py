"""`celeriac result`: what is known of a task."""

from __future__ import annotations

import click

from celeriac import serialization, states
from celeriac.cli.context import Context, pass_context
from celeriac.cli.output import json_option, print_json
from celeriac.exceptions import TimeoutError

__all__ = ["command"]


@click.command()
@click.argument("task_id")
@click.option("--traceback", is_flag=True, help="Show the traceback of a failed task instead of the exception.")
@click.option("--wait", type=float, metavar="SECONDS", help="Wait so long for the task to end.")
@click.option("-t", "--task", metavar="NAME", help="Celery's; the id is enough here.")
@json_option
@pass_context
def command(
    context: Context, task_id: str, traceback: bool, wait: float | None, task: str | None, as_json: bool
) -> None:
    """Show the state and the return value of the task TASK_ID.

    Exit status 0 if it succeeded, 1 if it failed or was revoked, 2 if it has not ended (or the id is unknown).
    JSON: task_id, state, result (of an exception its text), traceback.
    """
    result = context.load_app().AsyncResult(task_id)
    if wait is not None:
        try:
            result.get(timeout=wait, propagate=False)
        except TimeoutError:
            pass
    state, value, trace = result.state, result.result, result.traceback
    if as_json:
        shown = value if serialization.unencodable(value) is None else repr(value)
        print_json({"task_id": task_id, "state": state, "result": shown, "traceback": trace})
    elif traceback and trace:
        click.echo(trace.rstrip())
    elif state == states.PENDING:
        click.echo("PENDING: it waits in its queue, or the id is unknown (`celeriac status` shows the queues)")
    else:
        click.echo(f"{state}: {value!r}")
    raise click.exceptions.Exit({states.SUCCESS: 0, states.FAILURE: 1, states.REVOKED: 1}.get(state, 2))
