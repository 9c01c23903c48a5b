"""`celeriac recover`: bring back the work of workers that died."""

from __future__ import annotations

import click

from celeriac.app import Celery
from celeriac.cli.context import Context, pass_context
from celeriac.cli.output import ago, counted, json_option, print_json, remark
from celeriac.engines.base import NodeState
from celeriac.exceptions import OperationalError

__all__ = ["command"]


@click.command()
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    help="Give up after so long. Default: as long as it takes.",
)
@json_option
@pass_context
def command(context: Context, timeout: float | None, as_json: bool) -> None:
    """Put the work of dead workers back into its queues.

    Any worker does this by itself. This is for when none is left to do it: the last one's machine has gone.

    On SQLite it is done at once. On Redis a worker counts as dead when its lease (worker_lease, 15 s) has run out, and who
    takes over must have been alive for a whole lease, so that an outage of the server costs nobody work: this command waits
    that long.

    A task that may not run again has failed, and whoever waits for it is told so at once; it lies in its queue until a
    worker has called its handlers and buried it.

    JSON: returned, failed and buried, numbers of tasks, and workers, each with name, silent_for_s and held.
    """
    from celeriac.worker.takeover import take_over

    app = context.load_app()
    told: list[float] = []

    def waiting(seconds: float) -> None:
        if not told and not context.quiet:
            remark(f"waiting {seconds:g} s: who takes over must have been alive for as long as a lease lasts")
        told.append(seconds)

    recovery = take_over(app, timeout, waiting)
    now = app.clock.time()
    if recovery.left:
        raise OperationalError(
            f"after {timeout:g} s the work of {_named(recovery.left, now)} is not taken over yet; allow more by --timeout"
        )
    if as_json:
        workers = [
            {"name": state.node.name, "silent_for_s": max(0.0, now - state.renewed), "held": state.leased}
            for state in recovery.dead
        ]
        counts = {"returned": recovery.returned, "failed": recovery.failed, "buried": recovery.buried}
        print_json({**counts, "workers": workers})
    elif not recovery.dead:
        click.echo(f"Nothing to recover: no worker of {app.broker.describe()} is dead.{_alive(app)}")
    elif not recovery.verdicts:
        click.echo(f"Nothing to recover: {_named(recovery.dead, now)} held no task, or another worker was faster.")
    else:
        back = f"{counted(recovery.returned, 'task')} of {_named(recovery.dead, now)} went back to the queues"
        failed = f", {recovery.failed} failed" if recovery.failed else ""
        buried = f", {recovery.buried} buried" if recovery.buried else ""
        click.echo(f"{back}{failed}{buried}.")


def _alive(app: Celery) -> str:
    """Who has just killed a worker is told why it is not found."""
    living = tuple(state for state in app.broker.nodes() if state.alive)
    if not living:
        return ""
    named = _named(living, app.clock.time())
    return f" Alive: {named}. On Redis a killed one counts as dead when it has been silent for its worker_lease."


def _named(states: tuple[NodeState, ...], now: float) -> str:
    return ", ".join(f"{state.node.name} (silent for {ago(now - state.renewed)})" for state in states)
