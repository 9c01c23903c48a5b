"""`celeriac call`: send a task by name."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import click

from celeriac.cli.context import Context, pass_context

__all__ = ["command"]


class _Json(click.ParamType[Any]):
    def __init__(self, kind: type, example: str) -> None:
        self.name = "json"
        self._kind = kind
        self._example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            parsed = json.loads(value)
        except ValueError as error:
            self.fail(f"{value!r} is not JSON ({error}); write it like {self._example}", param, ctx)
        if not isinstance(parsed, self._kind):
            kind = "list" if self._kind is list else "object"
            self.fail(f"{value!r} is not a JSON {kind}; write it like {self._example}", param, ctx)
        return parsed


class _Moment(click.ParamType[Any]):
    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            self.fail(
                f"{value!r} is not a time; write it like 2026-12-24T18:00 (the application's zone) or with +01:00"
            )


class _Expiry(_Moment):
    name = "time or seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return float(value)
        except ValueError:
            return super().convert(value, param, ctx)


@click.command()
@click.argument("name")
@click.option("-a", "--args", type=_Json(list, "'[4, 4]'"), metavar="JSON", help="Positional arguments: '[4, 4]'.")
@click.option(
    "-k", "--kwargs", type=_Json(dict, "'{\"x\": 4}'"), metavar="JSON", help="Keyword arguments: '{\"x\": 4}'."
)
@click.option("--countdown", type=float, metavar="SECONDS", help="Start not before so many seconds from now.")
@click.option("--eta", type=_Moment(), metavar="TIME", help="Start not before this time (ISO 8601).")
@click.option(
    "--expires", type=_Expiry(), metavar="TIME", help="Do not start after this time, or so many seconds from now."
)
@click.option("--queue", metavar="NAME", help="Send it to this queue.")
@click.option("--priority", type=click.IntRange(0, 9), metavar="0-9", help="0 is served first.")
@pass_context
def command(
    context: Context, /, name: str, args: list[Any] | None, kwargs: dict[str, Any] | None, **options: Any
) -> None:
    """Send the task NAME and print its id."""
    task = context.load_app().find_task(name)
    try:
        result = task.apply_async(args, kwargs, **options)
    except (TypeError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(result.id)
