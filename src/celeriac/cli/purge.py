"""`celeriac purge`: delete what waits."""

from __future__ import annotations

import click

from celeriac.cli.context import Context, counted, pass_context

__all__ = ["command"]


@click.command()
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("-Q", "--queues", metavar="NAMES", help="These queues, with commas between. Default: the application's.")
@pass_context
def command(context: Context, force: bool, queues: str | None) -> None:
    """Delete what waits in queues, ready and delayed. What a worker has already taken runs on."""
    app = context.load_app()
    names = [name.strip() for name in queues.split(",") if name.strip()] if queues else [app.conf.task_default_queue]
    waiting = {queue.name: queue.ready + queue.delayed for queue in app.broker.queues()}
    count = sum(waiting.get(name, 0) for name in names)
    where = f"{', '.join(names)} of {app.broker.describe()}"
    if count == 0:
        click.echo(f"Nothing waits in {where}.")
        return
    if not force:
        click.confirm(f"Delete {counted(count, 'waiting task')} in {where}? They cannot be brought back", abort=True)
    deleted = sum(app.broker.purge(name) for name in names)
    click.echo(f"Deleted {counted(deleted, 'task')}.")
