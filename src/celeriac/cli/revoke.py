"""`celeriac revoke`: have tasks not run."""

from __future__ import annotations

import click

from celeriac import revoking
from celeriac.app import Celery
from celeriac.cli.context import Context, pass_context
from celeriac.cli.output import ago, counted, json_option, print_json, table
from celeriac.exceptions import ConfigError

__all__ = ["command", "revoke_tasks"]


@click.command()
@click.argument("task_ids", nargs=-1)
@click.option("-t", "--terminate", is_flag=True, help="Also end runs that have begun.")
@click.option("-s", "--signal", metavar="NAME", help="With --terminate: what the run's process gets. Default: SIGTERM.")
@click.option(
    "--expires",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="How long it holds. Default: setting revoke_expires.",
)
@click.option("--undo", is_flag=True, help="Take revocations back. What was taken out is not put back.")
@click.option("-l", "--list", "listing", is_flag=True, help="List what is revoked.")
@json_option
@pass_context
def command(
    context: Context,
    task_ids: tuple[str, ...],
    terminate: bool,
    signal: str | None,
    expires: float | None,
    undo: bool,
    listing: bool,
    as_json: bool,
) -> None:
    """Have tasks not run, by their ids.

    What waits is taken out, with the result REVOKED; what comes later ends so when a worker claims it, also a worker that
    starts later. What has begun goes on, unless you write --terminate.

    JSON: taken_out, the number of messages; with --undo: undone; with --list: a list.
    """
    if bool(task_ids) == listing:
        raise ConfigError("name tasks by their ids, or write --list")
    if (listing or undo) and (terminate or expires is not None or listing == undo):
        raise ConfigError("--list and --undo go with none of --terminate, --expires, and each other")
    if signal is not None and not terminate:
        raise ConfigError("--signal goes with --terminate: without that no run is ended")
    app = context.load_app()
    if listing:
        _list(app, as_json)
    elif undo:
        count = app.control.unrevoke(task_ids)
        if as_json:
            print_json({"undone": count})
        else:
            click.echo(f"Took {counted(count, 'revocation')} back.")
    else:
        revoke_tasks(app, task_ids, (signal or "SIGTERM") if terminate else None, expires, as_json)


def revoke_tasks(
    app: Celery, task_ids: tuple[str, ...], signal: str | None, expires_s: float | None = None, as_json: bool = False
) -> None:
    """Revoke, and say what was done."""
    try:
        name = None if signal is None else revoking.signal_name(signal)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    taken = revoking.revoke(app, task_ids, expires_s=expires_s, signal=name)
    if as_json:
        print_json({"taken_out": taken})
    else:
        click.echo(f"Revoked {counted(len(set(task_ids)), 'task')}; {counted(taken, 'message')} taken out of queues.")


def _list(app: Celery, as_json: bool) -> None:
    revocations = app.control.revocations(limit=1_000_000)
    if as_json:
        print_json([{"id": one.task_id, "expires": one.expires, "signal": one.signal} for one in revocations])
    elif not revocations:
        click.echo("Nothing is revoked.")
    else:
        now = app.clock.time()
        rows = [(one.task_id, ago(one.expires - now), one.signal or "-") for one in revocations]
        click.echo(table(("ID", "HOLDS FOR", "TERMINATES BY"), rows))
