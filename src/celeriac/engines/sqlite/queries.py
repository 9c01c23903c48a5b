"""The statements of the `sql` folder, by file and name."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from pathlib import Path

__all__ = ["schema", "statements", "upgrade"]

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def _read(name: str) -> str:
    return (Path(__file__).parent / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def statements(name: str) -> Mapping[str, str]:
    """The statements of one file by the name that stands above each."""
    _head, *parts = _NAME.split(_read(name))
    return {
        key: "\n".join(line for line in text.strip().splitlines() if not line.startswith("--")).rstrip(";")
        for key, text in zip(parts[::2], parts[1::2], strict=True)
    }


def schema() -> list[str]:
    """What makes the tables."""
    return _split(_read("schema"))


def upgrade(version: int) -> list[str]:
    """What makes the tables of this version out of those of the version before."""
    return _split(_read(f"upgrades/{version}"))


def _split(script: str) -> list[str]:
    """Its statements. A trigger has semicolons of its own."""
    found: list[str] = []
    text = ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            found.append(text)
            text = ""
    return found
