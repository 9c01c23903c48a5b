"""The code blocks of a page of documentation, and what each of them is for.

A fenced block is one of these:

    ```python                      run in the page's Python session; must not raise
    ```pycon                       typed into that session, line by line; the output must be the one shown
    ```console                     `$ command` lines and what they print; `$ celeriac ... worker` stays until a line
                                   `^C` below it, the next one, or the end of the project

unless a comment stands above it:

    <!-- file: tasks.py -->        the content of a file; all are written before anything runs, blocks of one file joined
    <!-- log -->                   lines that the worker's log has by then, in this order
    <!-- exits: 1 -->              the (last) command of the block ends with this status
    <!-- not run: why -->          neither run nor checked; `test_pages.py` has the list of these

`<!-- new project -->` between blocks begins an empty folder, with a store, session and worker of its own. A shown line of
three dots, or three dots within a line, stands for anything. Task ids are shown as they once were: the test knows which
is which.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Block", "Command", "commands", "projects"]

_RUN = {"python", "pycon", "console"}
_FENCE = re.compile(r"^(?P<ticks>`{3,})(?P<language>\S*)[^\n]*$")
_COMMENT = re.compile(r"^<!-- (?P<text>.*?) -->$")
_NEW_PROJECT = "new project"


@dataclass(frozen=True)
class Block:
    """`kind` is python, pycon, console, file, log or not run; `detail` the file's name, the status or the reason."""

    kind: str
    detail: str
    text: str
    page: str
    line: int

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """One `$` line of a console block, and what is shown below it."""

    line: str
    shown: str


def projects(page: Path) -> list[list[Block]]:
    """The blocks of a page, in a list for each project. Raises `AssertionError` for a block that nothing is said of."""
    found: list[list[Block]] = [[]]
    for block in _blocks(page):
        if block.kind == _NEW_PROJECT:
            found.append([])
        else:
            found[-1].append(block)
    return [blocks for blocks in found if blocks]


def commands(block: Block) -> Iterator[Command]:
    """Those of a console block; a line that ends with a backslash goes on in the next."""
    head, *parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert not head.strip(), f"{block.place}: a console block begins with a $ line"
    for part in parts:
        line, _, shown = part.replace("\\\n", "").partition("\n")
        yield Command(line, shown)


def _blocks(page: Path) -> Iterator[Block]:
    lines = page.read_text(encoding="utf-8").splitlines()
    said, number = "", 0
    while number < len(lines):
        comment, fence = _COMMENT.match(lines[number]), _FENCE.match(lines[number])
        number += 1
        if comment is not None and comment["text"] == _NEW_PROJECT:
            yield Block(_NEW_PROJECT, "", "", page.name, number)
        elif comment is not None:
            said = comment["text"]
        elif fence is not None:
            begin = number
            while lines[number] != fence["ticks"]:
                number += 1
            text = "\n".join(lines[begin:number]) + "\n"
            number += 1
            if not fence["language"].startswith("{"):  # a directive of the documentation
                kind, detail = _meant(said, fence["language"], f"{page.name}:{begin}")
                yield Block(kind, detail, text, page.name, begin)
            said = ""
        elif lines[number - 1].strip():
            assert not said.startswith(("file:", "log", "exits:", "not run:")), f"{page.name}:{number}: no block below"
            said = ""


def _meant(said: str, language: str, place: str) -> tuple[str, str]:
    kind, _, detail = (part.strip() for part in said.partition(":"))
    if kind in ("file", "log", "not run"):
        assert kind == "log" or detail, f"{place}: `{said}` lacks a word"
        return kind, detail
    assert language in _RUN, (
        f"{place}: a block of {language or 'no language'} is not run; say why: <!-- not run: ... -->"
    )
    return language, detail if kind == "exits" else ""
