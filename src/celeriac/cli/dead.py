"""`celeriac dead`: dead letters."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from itertools import islice
from typing import Any

import click

from celeriac.cli.arguments import arguments_of
from celeriac.cli.context import Context, pass_context
from celeriac.cli.grouped import InOrder
from celeriac.cli.output import ago, counted, json_option, print_json, table
from celeriac.cli.values import Duration, Json, complete_queues, complete_tasks
from celeriac.dead_letters import DeadLetters
from celeriac.engines.base import DeadLetter
from celeriac.exceptions import ConfigError, DecodeError

__all__ = ["command"]


_FILTERS = [
    click.option("-Q", "--queue", metavar="NAME", shell_complete=complete_queues, help="Only those of this queue."),
    click.option(
        "-t",
        "--task",
        metavar="NAME",
        shell_complete=complete_tasks,
        help="Only those of this task; mails.* for several.",
    ),
    click.option("-r", "--reason", metavar="TEXT", help="Only those whose reason contains this, such as an exception."),
    click.option("--older-than", type=Duration(), help="Only those buried longer ago than this (15m, 2h, 7d)."),
    click.option("--newer-than", type=Duration(), help="Only those buried since then."),
]


def _filters(function: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_FILTERS):
        function = option(function)
    return function


_FORCE = click.option("-f", "--force", "-y", "--yes", "force", is_flag=True, help="Do not ask.")
_EVERYTHING = click.option("--all", "everything", is_flag=True, help="All of them, or all that the options choose.")


@click.group(cls=InOrder)
def command() -> None:
    """List, show, retry or drop dead letters.

    Here lies what failed for good, what took its worker down too often, and what could not be read.
    """


@command.command("list")
@_filters
@click.option("-n", "--limit", default=20, show_default=True, help="At most so many.")
@json_option
@pass_context
def list_(context: Context, /, limit: int, as_json: bool, **filters: Any) -> None:
    """List dead letters, newest first."""
    app = context.load_app()
    letters = list(islice(app.dead_letters.find(**_named(filters)), limit))
    if as_json:
        print_json([_as_dict(letter) for letter in letters])
        return
    if not letters:
        click.echo("No dead letters.")
    else:
        now = app.clock.time()
        rows = [
            (
                letter.id,
                ago(now - letter.buried),
                letter.queue,
                f"{letter.task}[{letter.task_id}]" if letter.task else "?",
                letter.reason.splitlines()[0][:100] if letter.reason else "",
            )
            for letter in letters
        ]
        click.echo(table(("ID", "AGE", "QUEUE", "TASK", "REASON"), rows))
    trimmed = app.dead_letters.trimmed
    if trimmed:
        click.echo(f"{counted(trimmed, 'older one')} deleted so far by dead_letter_max_age and dead_letter_max_size.")


@command.command(short_help="Show one dead letter: reason, arguments, traceback.")
@click.argument("letter_id", type=int)
@click.option("--raw", is_flag=True, help="Print the message's bytes as they are, nothing else.")
@json_option
@pass_context
def show(context: Context, letter_id: int, raw: bool, as_json: bool) -> None:
    """Show one dead letter: why it is there, its arguments, its traceback."""
    letter = _find(context.load_app().dead_letters, letter_id)
    if raw:
        sys.stdout.buffer.write(letter.raw)
        return
    if as_json:
        print_json(_as_dict(letter))
        return
    buried = datetime.fromtimestamp(letter.buried).astimezone().isoformat(sep=" ", timespec="seconds")
    facts = {
        "task": letter.task or "?",
        "task id": letter.task_id or "?",
        "queue": letter.queue,
        "buried": buried,
        "deliveries": letter.deliveries,
        "reason": letter.reason,
        **arguments_of(letter.raw),
    }
    click.echo("\n".join(f"{name + ':':<12}{value}" for name, value in facts.items()))
    if letter.detail:
        click.echo(f"\n{letter.detail.rstrip()}")


@command.command(short_help="Send dead letters again, also with changes.")
@click.argument("letter_ids", type=int, nargs=-1)
@_EVERYTHING
@_filters
@click.option("--args", type=Json(list, "'[1, 2]'"), help="With these arguments, a JSON list.")
@click.option("--kwargs", type=Json(dict, "'{\"x\": 1}'"), help="With these keyword arguments, a JSON object.")
@click.option("--to", metavar="QUEUE", shell_complete=complete_queues, help="To this queue.")
@click.option("--priority", type=click.IntRange(0, 9), help="With this priority.")
@_FORCE
@pass_context
def retry(
    context: Context,
    /,
    letter_ids: tuple[int, ...],
    everything: bool,
    args: list[Any] | None,
    kwargs: dict[str, Any] | None,
    to: str | None,
    priority: int | None,
    force: bool,
    **filters: Any,
) -> None:
    """Send dead letters again, as if for the first time, and changed where options say so.

    --queue, --task, --reason, --older-than and --newer-than choose letters; --args, --kwargs, --to and --priority change
    what is sent.
    """
    dead = context.load_app().dead_letters
    chosen = _chosen(dead, letter_ids, everything, filters)
    if not chosen:
        click.echo("No dead letter is like that.")
        return
    if not (letter_ids or force):
        click.confirm(f"Send {counted(len(chosen), 'dead letter')} again?", abort=True)
    sent, unreadable = 0, []
    for letter_id in reversed(chosen):  # in the order they were buried
        letter = dead.get(letter_id)
        try:
            sent += letter is not None and dead.retry(letter, args=args, kwargs=kwargs, queue=to, priority=priority)
        except DecodeError as error:
            unreadable.append(str(error))
    click.echo(f"Sent {counted(sent, 'task')} again.")
    if unreadable:
        raise DecodeError("; ".join(unreadable))


@command.command()
@click.argument("letter_ids", type=int, nargs=-1)
@_EVERYTHING
@_filters
@_FORCE
@pass_context
def drop(context: Context, /, letter_ids: tuple[int, ...], everything: bool, force: bool, **filters: Any) -> None:
    """Delete dead letters."""
    dead = context.load_app().dead_letters
    chosen = _chosen(dead, letter_ids, everything, filters)
    if not chosen:
        click.echo("No dead letter is like that.")
        return
    if not force:
        click.confirm(f"Delete {counted(len(chosen), 'dead letter')}? They cannot be brought back", abort=True)
    click.echo(f"Deleted {counted(dead.drop(chosen), 'dead letter')}.")


def _chosen(dead: DeadLetters, letter_ids: tuple[int, ...], everything: bool, filters: dict[str, Any]) -> list[int]:
    """Their ids, newest first."""
    filtered = any(value is not None for value in filters.values())
    if bool(letter_ids) == (everything or filtered):
        raise ConfigError(
            "name letters by their id (celeriac dead list shows them), or write --all, --queue, --task, --reason, "
            "--older-than or --newer-than"
        )
    if letter_ids:
        return sorted((_find(dead, letter_id).id for letter_id in letter_ids), reverse=True)
    return [letter.id for letter in dead.find(**_named(filters))]


def _named(filters: dict[str, Any]) -> dict[str, Any]:
    """As `DeadLetters.find` has them."""
    return {f"{name}_s" if name.endswith("_than") else name: value for name, value in filters.items()}


def _find(dead: DeadLetters, letter_id: int) -> DeadLetter:
    letter = dead.get(letter_id)
    if letter is None:
        raise ConfigError(f"there is no dead letter {letter_id}; `celeriac dead list` shows those there are")
    return letter


def _as_dict(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "queue": letter.queue,
        "task": letter.task,
        "task_id": letter.task_id,
        "reason": letter.reason,
        "detail": letter.detail,
        "buried": letter.buried,
        "deliveries": letter.deliveries,
        **arguments_of(letter.raw),
    }
