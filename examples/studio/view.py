"""What is seen of the studio in the terminal it was started in."""

import asyncio
import os
import sys
from collections import Counter

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from examples.studio.studio import Studio

__all__ = ["show"]

LOOK_EVERY_S = 0.2


async def show(studio: Studio) -> None:
    """Draw how far pictures and mails are, until cancelled; nothing where a terminal cannot move its cursor."""
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return
    columns = (
        TextColumn("{task.description:10}"),
        BarColumn(None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"),
    )
    bars = Progress(*columns, expand=True)
    pictures, mails = (bars.add_task(name, total=None, text="") for name in ("pictures", "mails"))
    # The cursor rests on the empty last line: the ^C that a terminal echoes there does not shift the picture.
    with Live(Group(bars, ""), auto_refresh=False) as live:
        while True:
            # Two tasks for each picture.
            ended = sum(studio.state(task_id) == "SUCCESS" for one in studio.pictures.values() for task_id in one.tasks)
            workers = sum(one["alive"] for one in studio.drawn.get("workers", []))
            text = f"{len(studio.pictures)} pictures, workers: {workers}"
            bars.update(pictures, completed=ended, total=2 * len(studio.pictures), text=text)
            states = Counter(map(studio.state, studio.mails))
            text = f"{states['RETRY']} retrying, {states['FAILURE']} failed"
            bars.update(mails, completed=states["SUCCESS"], total=len(studio.mails), text=text)
            live.refresh()
            await asyncio.sleep(LOOK_EVERY_S)
