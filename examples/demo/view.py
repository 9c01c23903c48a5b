"""What the demo shows while it runs: a live picture in a terminal, plain lines everywhere else."""

import os
import re
import sys
from contextlib import AbstractContextManager
from typing import Protocol, Self

from rich.console import Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from examples.demo.progress import Bar, Snapshot

__all__ = ["LiveView", "PlainView", "View", "view_for_this_output"]

LOG_LINES = 6
# The day is known and the id is long; without them a log line fits.
LOG_NOISE = re.compile(r"\d{4}-\d\d-\d\d |(?<=[0-9a-f]{8})(-[0-9a-f]{4}){3}-[0-9a-f]{12}|examples\.demo\.tasks\.")


class View(AbstractContextManager["View"], Protocol):
    """Shows snapshots as they come; leaves the output as it found it."""

    def show(self, snapshot: Snapshot) -> None: ...


def view_for_this_output() -> View:
    """Live where a terminal can move its cursor, plain in pipes, files and editors."""
    return LiveView() if sys.stdout.isatty() and os.environ.get("TERM") != "dumb" else PlainView()


class PlainView(View):
    """A line now and then."""

    def __init__(self, every_s: float = 1.0) -> None:
        self._every_s = every_s
        self._next_s = 0.0

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, snapshot: Snapshot) -> None:
        finished = all(bar.done == bar.total for bar in snapshot.bars)
        if snapshot.elapsed_s < self._next_s and not finished:
            return
        self._next_s = snapshot.elapsed_s + self._every_s
        bars = "   ".join(f"{bar.name} {bar.done:3}/{bar.total} {bar.per_s:5.1f}/s" for bar in snapshot.bars)
        print(f"{snapshot.elapsed_s:5.1f} s   {bars}   retries {snapshot.retries}", flush=True)


class LiveView(View):
    """Bars, rates and the last lines of the worker's log, drawn anew ten times a second."""

    def __init__(self) -> None:
        self._live = Live(auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, snapshot: Snapshot) -> None:
        # The cursor rests on the empty last line: the ^C that a terminal echoes there does not shift the picture.
        self._live.update(Group(_head(snapshot), _bars(snapshot.bars), _log(snapshot), ""), refresh=True)


def _head(snapshot: Snapshot) -> Text:
    head = Text.assemble(("celeriac demo", "bold"), f"   {snapshot.elapsed_s:4.1f} s   ")
    retries = "retry" if snapshot.retries == 1 else "retries"
    return head.append(
        f'{snapshot.retries} {retries} after "451 try again later"', "yellow" if snapshot.retries else "dim"
    )


def _bars(bars: tuple[Bar, ...]) -> Table:
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True, min_width=8)
    for bar in bars:
        line = ProgressBar(total=bar.total, completed=bar.done)
        table.add_row(bar.name, line, f"{bar.done}/{bar.total}", f"{bar.per_s:.1f}/s")
    return table


def _log(snapshot: Snapshot) -> Panel:
    lines = [LOG_NOISE.sub("", line) for line in snapshot.log[-LOG_LINES:]]
    lines += [""] * (LOG_LINES - len(lines))  # a panel that keeps its height does not make the terminal jump
    text = Text("\n".join(lines), style="dim", no_wrap=True, overflow="ellipsis")
    return Panel(text, title=f"worker, process {snapshot.worker_pid}", title_align="left", border_style="dim")
