"""`celeriac purge`: delete what waits."""

from __future__ import annotations

import click

from celeriac.cli.context import Context, pass_context, split_names
from celeriac.cli.output import counted, json_option, print_json
from celeriac.cli.values import complete_queues
from celeriac.exceptions import ConfigError

__all__ = ["command"]


@click.command()
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option(
    "-Q",
    "--queues",
    metavar="NAMES",
    shell_complete=complete_queues,
    help="These queues, with commas between. Default: the application's.",
)
@click.option("-X", "--exclude-queues", metavar="NAMES", shell_complete=complete_queues, help="But not these.")
@json_option
@pass_context
def command(context: Context, force: bool, queues: str | None, exclude_queues: str | None, as_json: bool) -> None:
    """Delete what waits in queues, ready and delayed. What a worker has already taken runs on.

    JSON: deleted, the number of tasks, and queues, the number for each.
    """
    app = context.load_app()
    excluded = split_names(exclude_queues)
    names = [name for name in split_names(queues) or (app.conf.task_default_queue,) if name not in excluded]
    if not names:
        raise ConfigError("no queue is left to purge: -X names all of them")
    waiting = {queue.name: queue.ready + queue.delayed for queue in app.broker.queues()}
    count = sum(waiting.get(name, 0) for name in names)
    where = f"{', '.join(names)} of {app.broker.describe()}"
    if count and not force:
        question = f"Delete {counted(count, 'waiting task')} in {where}? They cannot be brought back"
        click.confirm(question, abort=True, err=as_json)
    deleted = {name: app.broker.purge(name) if count else 0 for name in names}
    if as_json:
        print_json({"deleted": sum(deleted.values()), "queues": deleted})
    elif count:
        click.echo(f"Deleted {counted(sum(deleted.values()), 'task')}.")
    else:
        click.echo(f"Nothing waits in {where}.")
