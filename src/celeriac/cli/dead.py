"""`celeriac dead`: dead letters."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any

import click

from celeriac import messages, serialization
from celeriac.cli.context import Context, pass_context
from celeriac.cli.output import ago, counted, json_option, print_json, table
from celeriac.cli.values import complete_queues
from celeriac.dead_letters import DeadLetters
from celeriac.engines.base import DeadLetter
from celeriac.exceptions import ConfigError, DecodeError
from celeriac.messages import Malformed

__all__ = ["command"]


@click.group()
def command() -> None:
    """List, show, retry or drop dead letters.

    Here lies what failed for good, what took its worker down too often, and what could not be read.
    """


@command.command("list")
@click.option("-Q", "--queue", metavar="NAME", shell_complete=complete_queues, help="Only this queue.")
@click.option("-n", "--limit", default=20, show_default=True, help="At most so many, newest first.")
@json_option
@pass_context
def list_(context: Context, queue: str | None, limit: int, as_json: bool) -> None:
    """List dead letters, newest first."""
    app = context.load_app()
    letters = DeadLetters(app).list(queue, limit)
    if as_json:
        print_json([_as_dict(letter) for letter in letters])
    elif not letters:
        click.echo("No dead letters.")
    else:
        now = app.clock.time()
        rows = [
            (
                letter.id,
                ago(now - letter.buried),
                letter.queue,
                f"{letter.task}[{letter.task_id}]" if letter.task else "?",
                letter.reason.splitlines()[0][:100],
            )
            for letter in letters
        ]
        click.echo(table(("ID", "AGE", "QUEUE", "TASK", "REASON"), rows))


@command.command()
@click.argument("letter_id", type=int)
@click.option("--raw", is_flag=True, help="Print the message's bytes as they are, nothing else.")
@json_option
@pass_context
def show(context: Context, letter_id: int, raw: bool, as_json: bool) -> None:
    """Show one dead letter: why it is there, its arguments, its traceback."""
    letter = _find(DeadLetters(context.load_app()), letter_id)
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
        **_arguments(letter),
    }
    click.echo("\n".join(f"{name + ':':<12}{value}" for name, value in facts.items()))
    if letter.detail:
        click.echo(f"\n{letter.detail.rstrip()}")


@command.command()
@click.argument("letter_ids", type=int, nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every letter, or every one of --queue.")
@click.option("-Q", "--queue", metavar="NAME", shell_complete=complete_queues, help="With --all: only this queue.")
@pass_context
def retry(context: Context, letter_ids: tuple[int, ...], everything: bool, queue: str | None) -> None:
    """Send dead letters again, as if for the first time."""
    dead = DeadLetters(context.load_app())
    sent, unreadable = 0, []
    for letter in _chosen(dead, letter_ids, everything, queue):
        try:
            sent += dead.retry(letter)
        except DecodeError as error:
            unreadable.append(str(error))
    click.echo(f"Sent {counted(sent, 'task')} again.")
    if unreadable:
        raise DecodeError("; ".join(unreadable))


@command.command()
@click.argument("letter_ids", type=int, nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every letter, or every one of --queue.")
@click.option("-Q", "--queue", metavar="NAME", shell_complete=complete_queues, help="With --all: only this queue.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@pass_context
def drop(context: Context, letter_ids: tuple[int, ...], everything: bool, queue: str | None, force: bool) -> None:
    """Delete dead letters."""
    dead = DeadLetters(context.load_app())
    letters = _chosen(dead, letter_ids, everything, queue)
    if not force:
        click.confirm(f"Delete {counted(len(letters), 'dead letter')}? They cannot be brought back", abort=True)
    click.echo(f"Deleted {counted(dead.drop([letter.id for letter in letters]), 'dead letter')}.")


def _chosen(dead: DeadLetters, letter_ids: tuple[int, ...], everything: bool, queue: str | None) -> list[DeadLetter]:
    if everything == bool(letter_ids):
        raise ConfigError("name letters by their id (celeriac dead list shows them), or write --all")
    if everything:
        return dead.list(queue, limit=1_000_000)
    return [_find(dead, letter_id) for letter_id in letter_ids]


def _find(dead: DeadLetters, letter_id: int) -> DeadLetter:
    letter = dead.get(letter_id)
    if letter is None:
        raise ConfigError(f"there is no dead letter {letter_id}; `celeriac dead list` shows those there are")
    return letter


def _arguments(letter: DeadLetter) -> dict[str, Any]:
    message = messages.decode(letter.raw)
    if isinstance(message, Malformed):
        return {"bytes": repr(letter.raw[:200])}
    # Only to look at: what runs code when it is read (a pickle) is not read for that, whether or not it is accepted.
    accept = frozenset({message.content_type} if serialization.is_plain(message.content_type) else ())
    try:
        body = messages.decode_body(message, accept)
    except DecodeError:
        return {"body": repr(message.body[:200])}
    shown = {"args": body.args, "kwargs": body.kwargs}
    if serialization.unencodable(shown) is not None:
        shown = {name: repr(value) for name, value in shown.items()}
    return {"retries": message.retries, **shown}


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
        **_arguments(letter),
    }
