"""`celeriac worker`: run tasks until stopped."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from celeriac.cli.context import Context, pass_context
from celeriac.exceptions import ConfigError
from celeriac.worker import Wishes, run_worker

__all__ = ["command"]

_LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
_POOLS = ["prefork", "solo"]
_ELSEWHERE = {
    "gevent": "celeriac has no gevent pool; write tasks that wait as async def, which every pool runs",
    "eventlet": "celeriac has no eventlet pool; write tasks that wait as async def, which every pool runs",
}


class _Pool(click.Choice[str]):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in _ELSEWHERE:
            self.fail(_ELSEWHERE[value], param, ctx)
        return super().convert(value, param, ctx)


class _Concurrency(click.ParamType[int]):
    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if value == "auto":
            return os.cpu_count() or 1
        try:
            number = int(value)
        except ValueError:
            number = 0
        if number < 1:
            self.fail(
                f"{value!r} is not a number of processes; write 1 or more, or auto for one per processor", param, ctx
            )
        return number


@click.command(
    epilog="Stop it with Ctrl-C or SIGTERM: running tasks finish, what has not begun goes back to its queue. "
    "A second signal stops at once; what was running goes back too."
)
@click.option(
    "-Q", "--queues", metavar="NAMES", help="Queues to serve, with commas between. Default: the application's."
)
@click.option(
    "-c", "--concurrency", type=_Concurrency(), metavar="N", help="Tasks at a time. Default: one per processor."
)
@click.option("-P", "--pool", type=_Pool(_POOLS), help="prefork: in child processes (the default); solo: in this one.")
@click.option("-n", "--hostname", metavar="NAME", help="The worker's name; %h is the host. Default: celery@%h.")
@click.option(
    "-l",
    "--loglevel",
    default="WARNING",
    type=click.Choice(_LEVELS, case_sensitive=False),
    show_default=True,
    help="INFO shows a line when a task is received and when it ends.",
)
@click.option("-f", "--logfile", metavar="FILE", help="Write the log here instead of to the terminal.")
@pass_context
def command(
    context: Context,
    queues: str | None,
    concurrency: int | None,
    pool: str | None,
    hostname: str | None,
    loglevel: str,
    logfile: str | None,
) -> None:
    """Run tasks until stopped."""
    names = tuple(dict.fromkeys(name.strip() for name in (queues or "").split(",") if name.strip()))
    if queues is not None and not names:
        raise ConfigError("-Q names no queue; write names with commas between: -Q mails,images")
    wishes = Wishes(
        app=context.named_app(),
        workdir=context.workdir,
        hostname=hostname,
        queues=names,
        concurrency=concurrency,
        pool=pool,
        loglevel=loglevel.upper(),
        logfile=logfile,
        settings=context.settings,
    )
    sys.exit(run_worker(wishes))
