"""`celeriac delayed`: tasks that wait for their time."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from celeriac.cli.arguments import arguments_of
from celeriac.cli.context import Context, pass_context
from celeriac.cli.grouped import InOrder
from celeriac.cli.output import ago, counted, json_option, print_json, remark, table
from celeriac.cli.values import complete_queues
from celeriac.delayed import DelayedTasks
from celeriac.engines.base import Waiting
from celeriac.exceptions import ConfigError

__all__ = ["command"]


@click.group(cls=InOrder)
def command() -> None:
    """List, show, run or revoke delayed tasks.

    These are tasks with a countdown or an ETA, and retries that wait. They wait in the store.
    """


@command.command("list")
@click.option("-Q", "--queue", metavar="NAME", shell_complete=complete_queues, help="Only this queue.")
@click.option("-n", "--limit", default=20, show_default=True, help="At most so many.")
@json_option
@pass_context
def list_(context: Context, queue: str | None, limit: int, as_json: bool) -> None:
    """List delayed tasks, the soonest first."""
    app = context.load_app()
    found = DelayedTasks(app).list(queue, limit)
    if as_json:
        print_json([_as_dict(one) for one in found])
    elif not found:
        click.echo("Nothing is delayed.")
    else:
        now = app.clock.time()
        rows = [
            (ago((one.due or now) - now), one.queue, one.message.task or "?", one.message.id or "?", _retries(one))
            for one in found
        ]
        click.echo(table(("DUE IN", "QUEUE", "TASK", "ID", "RETRIES"), rows))


@command.command()
@click.argument("task_id")
@json_option
@pass_context
def show(context: Context, task_id: str, as_json: bool) -> None:
    """Show one delayed task: when it is due, and its arguments."""
    app = context.load_app()
    found = DelayedTasks(app).get(task_id)
    if found is None:
        raise ConfigError(f"no task {task_id} is delayed; `celeriac delayed list` shows those that are")
    if as_json:
        print_json(_as_dict(found))
        return
    due = found.due or 0.0
    moment = datetime.fromtimestamp(due).astimezone().isoformat(sep=" ", timespec="seconds")
    facts = {
        "task": found.message.task or "?",
        "task id": found.message.id,
        "queue": found.queue,
        "due": f"{moment} (in {ago(due - app.clock.time())})",
        **arguments_of(found.raw),
    }
    click.echo("\n".join(f"{name + ':':<12}{value}" for name, value in facts.items()))


@command.command()
@click.argument("task_ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every delayed task, or every one of --queue.")
@click.option("-Q", "--queue", metavar="NAME", shell_complete=complete_queues, help="With --all: only this queue.")
@json_option
@pass_context
def run(context: Context, task_ids: tuple[str, ...], everything: bool, queue: str | None, as_json: bool) -> None:
    """Run delayed tasks now, before what else is ready."""
    if everything == bool(task_ids):
        raise ConfigError("name tasks by their id (celeriac delayed list shows them), or write --all")
    if queue is not None and not everything:
        raise ConfigError("--queue belongs to --all; a task that is named by its id is found in any queue")
    delayed = DelayedTasks(context.load_app())
    count = delayed.run_all(queue) if everything else delayed.run(task_ids)
    if task_ids and not count:
        raise ConfigError(f"not delayed: {', '.join(task_ids)}; `celeriac delayed list` shows what is")
    _tell("run", f"{counted(count, 'delayed task')} may run now.", count, as_json)


@command.command()
@click.argument("task_ids", nargs=-1, required=True)
@json_option
@pass_context
def revoke(context: Context, task_ids: tuple[str, ...], as_json: bool) -> None:
    """Have delayed tasks never run; their result is REVOKED."""
    count = DelayedTasks(context.load_app()).revoke(task_ids)
    _tell("revoked", f"Took {counted(count, 'delayed task')} out.", count, as_json)
    missing = len(set(task_ids)) - count
    if missing > 0 and not context.quiet:
        remark(f"{missing} of them did not wait; revoked all the same, so a worker that gets one does not run it")


def _tell(word: str, line: str, count: int, as_json: bool) -> None:
    if as_json:
        print_json({word: count})
    else:
        click.echo(line)


def _retries(one: Waiting) -> int:
    return getattr(one.message, "retries", 0)


def _as_dict(one: Waiting) -> dict[str, Any]:
    return {
        "id": one.message.id,
        "task": one.message.task,
        "queue": one.queue,
        "due": one.due,
        **arguments_of(one.raw),
    }
