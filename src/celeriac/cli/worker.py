"""`celeriac worker`: run tasks until stopped."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from celeriac.cli.context import Context, pass_context, split_names
from celeriac.cli.grouped import Grouped, group
from celeriac.cli.output import remark
from celeriac.cli.values import LEVELS, AutoScale, Concurrency, Pool, complete_queues
from celeriac.exceptions import ConfigError
from celeriac.worker import Wishes, run_worker

__all__ = ["command"]

#: Option -> the setting it is a short way to.
_SETTINGS = {
    "time_limit": "task_time_limit",
    "soft_time_limit": "task_soft_time_limit",
    "max_tasks_per_child": "worker_max_tasks_per_child",
    "max_memory_per_child": "worker_max_memory_per_child",
    "prefetch_multiplier": "worker_prefetch_multiplier",
    "task_events": "worker_send_task_events",
}
#: Celery's options that change nothing here, and why.
_WITHOUT_EFFECT = {
    "optimization": ("-O", "a worker never takes more than it can start at once"),
    "prefetch_multiplier": ("--prefetch-multiplier", "a worker never takes more than it can start at once"),
    "disable_prefetch": ("--disable-prefetch", "a worker never takes more than it can start at once"),
    "without_gossip": ("--without-gossip", "workers do not talk to each other"),
    "without_mingle": ("--without-mingle", "workers do not talk to each other"),
    "without_heartbeat": ("--without-heartbeat", "a worker shows in the store that it is alive"),
    "heartbeat_interval": ("--heartbeat-interval", "the setting worker_lease says when a silent worker counts as dead"),
    "statedb": ("-S", "a worker has no state of its own to keep, all of it lies in the store"),
    "pool_start_method": ("--pool-start-method", "children are forked from a process without threads of ours"),
    "task_events": ("-E", "this version sends no task events, so monitors that listen for them show none of its tasks"),
    "schedule": ("-s", "this version has no scheduler"),
    "scheduler": ("--scheduler", "this version has no scheduler"),
}
_EXAMPLES = """
celeriac -A proj worker -l INFO
celeriac -A proj worker -Q mails,images -c 4 -n mails@%h
celeriac -A proj worker --reload -l DEBUG
celeriac -A proj worker -D -n one@%h --pidfile /run/proj/%n.pid -f /var/log/proj/%n%I.log
"""


@click.command(
    cls=Grouped,
    context_settings={"max_content_width": 100},
    epilog="Stop it with Ctrl-C or SIGTERM: running tasks finish, what has not begun goes back to its queue. "
    "A second signal stops at once; what was running goes back too.",
    examples=_EXAMPLES,
)
@group(
    "What it works on",
    click.option(
        "-Q",
        "--queues",
        metavar="NAMES",
        shell_complete=complete_queues,
        help="Queues to serve, with commas between. Default: the application's.",
    ),
    click.option(
        "-X",
        "--exclude-queues",
        metavar="NAMES",
        shell_complete=complete_queues,
        help="Of the application's queues, not these.",
    ),
    click.option("-I", "--include", metavar="MODULES", help="Import these modules too, for their tasks."),
    click.option("-n", "--hostname", metavar="NAME", help="The worker's name; %h is the host. Default: celery@%h."),
    click.option("--purge", "--discard", is_flag=True, help="First delete what waits in its queues. Without asking!"),
    click.option("--reload", is_flag=True, help="Start anew when a Python file changes. For development."),
)
@group(
    "How much at a time",
    click.option(
        "-c",
        "--concurrency",
        type=Concurrency(),
        metavar="N",
        help="Tasks at a time. Default, or auto: one per processor.",
    ),
    click.option(
        "-P",
        "--pool",
        type=Pool(),
        metavar="POOL",
        help="prefork (or processes): in child processes, the default. threads, asyncio: in one child. solo: in this one.",
    ),
    click.option("--autoscale", type=AutoScale(), metavar="MAX,MIN", help="Celery's; MAX processes run all the time."),
)
@group(
    "Limits",
    click.option("--time-limit", type=float, metavar="SECONDS", help="A task that takes longer is killed."),
    click.option("--soft-time-limit", type=float, metavar="SECONDS", help="SoftTimeLimitExceeded is raised in it."),
    click.option("--max-tasks-per-child", type=int, metavar="N", help="A child is replaced after so many tasks."),
    click.option("--max-memory-per-child", type=int, metavar="KIB", help="... or when it takes so much memory."),
)
@group(
    "Logs",
    click.option(
        "-l",
        "--loglevel",
        default="WARNING",
        metavar="LEVEL",
        type=click.Choice(LEVELS, case_sensitive=False),
        show_default=True,
        help="DEBUG, INFO (a line when a task comes and when it ends), WARNING, ERROR or CRITICAL.",
    ),
    click.option(
        "-f",
        "--logfile",
        metavar="FILE",
        help="Write the log here instead of to the terminal. In the name %n and %h are the worker's name before and "
        "after the @, %i or %I the child's number.",
    ),
)
@group(
    "As a service",
    click.option(
        "-D", "--detach", is_flag=True, help="Work in the background; without -f the log is %n.log in this folder."
    ),
    click.option("--pidfile", metavar="FILE", help="Write the pid here; refuse to start while its worker lives."),
    click.option("--uid", metavar="USER", help="Become this user (name or number)."),
    click.option("--gid", metavar="GROUP", help="Become this group."),
    click.option("--umask", metavar="OCTAL", help="What new files do not allow, such as 022."),
    click.option("--executable", metavar="FILE", help="Run with this Python."),
)
@group(
    "Celery's, accepted without effect",
    click.option("-E", "--task-events", "--events", is_flag=True, help="This version sends no task events."),
    click.option("-O", "--optimization", metavar="PROFILE", help="No worker takes more than it can start."),
    click.option("--prefetch-multiplier", type=int, metavar="N", help="The same."),
    click.option("--disable-prefetch", is_flag=True, help="The same."),
    click.option("--pool-start-method", metavar="METHOD", help="Children are forked from a clean process."),
    click.option("--without-gossip", is_flag=True, help="Workers do not talk to each other."),
    click.option("--without-mingle", is_flag=True, help="The same."),
    click.option("--without-heartbeat", is_flag=True, help="The store shows who is alive."),
    click.option("--heartbeat-interval", type=int, metavar="SECONDS", help="See the setting worker_lease."),
    click.option("-S", "--statedb", metavar="FILE", help="All state lies in the store."),
    click.option("-s", "--schedule", "--schedule-filename", metavar="FILE", help="There is no scheduler."),
    click.option("--scheduler", metavar="CLASS", help="The same."),
    click.option("-B", "--beat", is_flag=True, help="The same, so this one is an error."),
)
@pass_context
def command(context: Context, /, **given: Any) -> None:
    """Run tasks until stopped."""
    _refuse(given)
    if given["executable"] is not None:
        _run_with(given["executable"])
    if given["reload"]:
        from celeriac.worker.reload import run_with_reload

        first = _command_line(sys.executable, "--reload")
        later = [*first[:3], "--quiet", *first[3:]]  # the banner once is enough
        sys.exit(run_with_reload(first, later, context.workdir or "."))
    context.go_to_workdir()
    if not context.quiet:
        _tell_what_has_no_effect(given)
    sys.exit(_as_service(_wishes(context, given), given))


def _refuse(given: dict[str, Any]) -> None:
    if given["beat"]:
        raise ConfigError(
            "-B would schedule nothing: this version has no scheduler. Leave it out, and send periodic tasks with "
            "`celeriac call` from cron or a systemd timer"
        )
    if given["queues"] is not None and not split_names(given["queues"]):
        raise ConfigError("-Q names no queue; write names with commas between: -Q mails,images")
    if given["reload"] and given["detach"]:
        raise ConfigError("--reload is for development, at a terminal, and -D for production: choose one")


def _wishes(context: Context, given: dict[str, Any]) -> Wishes:
    settings = {setting: given[option] for option, setting in _SETTINGS.items() if given[option] not in (None, False)}
    if given["include"]:
        settings["include"] = split_names(given["include"])
    loglevel = given["loglevel"].upper()
    return Wishes(
        app=context.named_app(),
        config=context.config,
        quiet=context.quiet,
        hostname=given["hostname"],
        queues=split_names(given["queues"]),
        excluded_queues=split_names(given["exclude_queues"]),
        purge=given["purge"],
        concurrency=given["autoscale"] or given["concurrency"],
        pool=given["pool"],
        loglevel="CRITICAL" if loglevel == "FATAL" else loglevel,
        logfile=given["logfile"],
        settings={**context.settings, **settings},
    )


def _tell_what_has_no_effect(given: dict[str, Any]) -> None:
    for option, (written, why) in _WITHOUT_EFFECT.items():
        if given[option] not in (None, False):
            remark(f"{written} has no effect: {why}")
    if given["autoscale"]:
        remark(f"--autoscale: all {given['autoscale']} processes run from the start; an idle one costs next to nothing")


def _as_service(wishes: Wishes, given: dict[str, Any]) -> int:
    """Run the worker, as who and where the options say; at a plain terminal that is at once and here."""
    service = ("logfile", "detach", "pidfile", "uid", "gid", "umask")
    if all(given[option] in (None, False) for option in service):
        return run_worker(wishes)
    from celeriac.cli.service import start

    return start(wishes, **{option: given[option] for option in service[1:]})


def _run_with(executable: str) -> None:
    """Become that Python, with the same words but this option; returns only if it is the one we are."""
    try:
        os.execv(executable, _command_line(executable, "--executable", values=1))
    except OSError as error:
        raise ConfigError(f"--executable {executable} cannot be run: {error.strerror}") from None


def _command_line(python: str, without: str, values: int = 0) -> list[str]:
    """The command we were called with, without an option and the values that follow it."""
    words = sys.argv[1:]
    if without in words:
        at = words.index(without)
        del words[at : at + 1 + values]
    return [python, "-m", "celeriac", *(word for word in words if not word.startswith(f"{without}="))]
