"""How the commands print: tables, JSON, spans of time, and remarks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from celeriac import serialization

__all__ = ["ago", "counted", "json_option", "print_json", "remark", "table"]

#: Every command that prints data has it.
json_option = click.option("-j", "--json", "as_json", is_flag=True, help="Print JSON.")


def print_json(document: Any) -> None:
    """One indented document; what JSON has no way to write is written as task arguments would be."""
    click.echo(json.dumps(json.loads(serialization.dumps(document)), indent=2))


def remark(text: str) -> None:
    """A line beside the output, for the person and not for the pipe."""
    click.secho(f"Note: {text}", fg="yellow", err=True)


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as they need to be; numbers to the right."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(head), *(len(row[index]) for row in texts)) for index, head in enumerate(heads)]
    numeric = [all(isinstance(row[index], (int, float)) for row in rows) for index in range(len(heads))]

    def line(cells: Sequence[str]) -> str:
        parts = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, numeric, strict=True)
        ]
        return "  ".join(parts).rstrip()

    return "\n".join([line(heads), *(line(row) for row in texts)])


def counted(number: int, noun: str) -> str:
    """`1 task`, `2 tasks`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def ago(seconds: float | None) -> str:
    """A span of time, for people."""
    if seconds is None:
        return "-"
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
