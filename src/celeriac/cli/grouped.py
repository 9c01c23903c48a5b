"""Help that reads well: options in groups, and commands in the order in which they are used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["Grouped", "InOrder", "group"]

F = TypeVar("F", bound=Callable[..., Any])


def group(title: str, *options: Callable[[F], F]) -> Callable[[F], F]:
    """These `click.option`s, under this title in the help."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
            function.__click_params__[-1].title = title  # type: ignore[attr-defined]
        return function

    return decorate


class InOrder(click.Group):
    """A command of commands whose help lists them as they were written, not by the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


class Grouped(click.Command):
    """A command whose help shows its options by group, and examples at the end."""

    def __init__(self, *args: Any, examples: str = "", **more: Any) -> None:
        super().__init__(*args, **more)
        self.examples = examples

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(parameter, "title", "Other"), []).append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records, col_max=26)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples.strip().splitlines():
                    formatter.write(f"  {line}\n")
