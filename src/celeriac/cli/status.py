"""`celeriac status`: workers and queues."""

from __future__ import annotations

import click
from msgspec.structs import replace

from celeriac.cli.context import Context, pass_context, split_names
from celeriac.cli.output import ago, json_option, print_json, table
from celeriac.exceptions import ConfigError
from celeriac.insights import Overview, overview

__all__ = ["command"]


@click.command()
@click.option(
    "-t", "--timeout", type=click.FloatRange(min=0.05), metavar="SECONDS", help="How long the store may take."
)
@click.option("-d", "--destination", metavar="NAMES", help="Only these workers, with commas between.")
@json_option
@pass_context
def command(context: Context, timeout: float | None, destination: str | None, as_json: bool) -> None:
    """Show workers and queues.

    READY can start now, LEASED is with a worker (running, or about to), DELAYED waits for its time, DEAD was buried.

    With -d the exit status is 1 if one of the workers is not alive. JSON: at, store, workers, queues, unserved.
    """
    app = context.load_app()
    if timeout is not None:
        app.conf.broker_connection_timeout = timeout
    view = overview(app)
    missing: list[str] = []
    if destination is not None:
        wanted = split_names(destination)
        view = replace(view, workers=[worker for worker in view.workers if worker.node.name in wanted])
        alive = {worker.node.name for worker in view.workers if worker.alive}
        missing = [name for name in wanted if name not in alive]
    if as_json:
        print_json(view.as_dict())
    else:
        _show(context, view)
    if missing:
        raise ConfigError(f"not alive: {', '.join(missing)}")


def _show(context: Context, view: Overview) -> None:
    click.echo(f"{view.store}\n\n{_workers(view)}\n\n{_queues(view)}")
    if view.unserved:
        names = ",".join(view.unserved)
        app = context.app_name or "MODULE"
        click.echo(f"\nNo living worker serves {names}; start one: celeriac -A {app} worker -Q {names}")


def _workers(view: Overview) -> str:
    if not view.workers:
        return "No workers."
    rows = [
        (
            worker.node.name,
            "alive" if worker.alive else "dead",
            worker.node.pid,
            f"{worker.node.pool} {worker.node.concurrency}",
            ",".join(worker.node.queues),
            worker.leased,
            ago(view.at - worker.started),
        )
        for worker in view.workers
    ]
    return table(("WORKER", "STATE", "PID", "POOL", "QUEUES", "LEASED", "UP"), rows)


def _queues(view: Overview) -> str:
    rows = [
        (
            queue.name + (" (paused)" if queue.paused else ""),
            queue.ready,
            ago(None if queue.oldest is None else view.at - queue.oldest),
            queue.leased,
            queue.delayed,
            queue.dead,
        )
        for queue in view.queues
    ]
    return table(("QUEUE", "READY", "OLDEST", "LEASED", "DELAYED", "DEAD"), rows)
