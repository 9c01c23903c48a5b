"""`celeriac status`: workers and queues."""

from __future__ import annotations

import json

import click

from celeriac.cli.context import Context, ago, pass_context, table
from celeriac.insights import Overview, overview

__all__ = ["command"]


@click.command()
@click.option("-j", "--json", "as_json", is_flag=True, help="Print JSON.")
@pass_context
def command(context: Context, as_json: bool) -> None:
    """Show workers and queues.

    READY can start now, LEASED is with a worker (running, or about to), DELAYED waits for its time, DEAD was buried.
    """
    view = overview(context.load_app())
    if as_json:
        click.echo(json.dumps(view.as_dict(), indent=2))
        return
    click.echo(f"{view.store}\n\n{_workers(view)}\n\n{_queues(view)}")
    if view.unserved:
        names = ",".join(view.unserved)
        click.echo(f"\nNo living worker serves {names}; start one: celeriac -A {context.app_name} worker -Q {names}")


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
