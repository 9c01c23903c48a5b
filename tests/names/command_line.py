"""The command line: commands, and the flags of each by their long names."""

from __future__ import annotations

from functools import cache

import click

from celeriac.cli import cli
from names.section import Section

__all__ = ["COMMANDS", "command"]

_CONTROL = "with remote control"
_EVENTS = "with events"
_SCHEDULER = "with the scheduler"
_TAKEN = "test_a_flag_of_celerys_is_taken"
_NO_GREENLETS = "greenlet pools are answered with what to use instead"


def command(name: str) -> click.Command | None:
    """One command, or the line without any."""
    return cli.get_command(click.Context(cli), name) if name else cli


@cache
def _flags(name: str) -> frozenset[str]:
    found = command(name)
    assert found is not None, f"there is no command {name}"
    return frozenset(flag for option in found.params for flag in (*option.opts, *option.secondary_opts))


def _command(name: str, **lists: dict[str, str]) -> Section:
    return Section(
        f"celeriac {name}".strip(), has=lambda flag: flag in _flags(name), celery=f"flags({name!r})", **lists
    )


COMMANDS = (
    Section(
        "commands",
        works={
            "test_status_shows_workers_living_and_dead": "status",
            "test_call_sends_a_task_and_result_waits_for_it": "call result",
            "test_purge_asks_first": "purge",
            "test_report_says_what_a_bug_report_should_and_no_secrets": "report",
            "test_without_an_application": "worker",
            _TAKEN: "shell",
            "test_celerys_words_revoke_and_terminate": "control",
        },
        planned={
            _CONTROL: "inspect",
            _EVENTS: "events",
            _SCHEDULER: "beat",
            "with RabbitMQ": "amqp list",
            "with the command that moves a project over": "migrate upgrade",
            "with the celery alias; until then the answer says what to use": "graph logtool multi",
        },
        has=lambda name: command(name) is not None,
        celery="commands()",
    ),
    _command(
        "",
        works={
            "test_workdir_is_where_the_application_is_looked_for": "--workdir --app",
            "test_a_broker_that_this_version_lacks": "--broker",
            "test_version": "--version",
            _TAKEN: "--result-backend --config --no-color --quiet",
        },
        accepted={
            "there are no loaders": "--loader",
            "there are no checks to skip: Django's are run by Django": "--skip-checks",
        },
    ),
    _command(
        "worker",
        works={
            "test_concurrency_is_how_many_tasks_run_at_a_time": "--concurrency",
            "test_a_worker_serves_its_own_queues_and_no_others": "--queues",
            "test_the_log_level_decides_what_is_logged": "--loglevel",
            "test_the_log_can_go_to_a_file": "--logfile",
            "test_a_worker_shows_in_status_while_it_lives": "--hostname",
            _TAKEN: (
                "--pool --exclude-queues --include --discard --time-limit --soft-time-limit --max-tasks-per-child "
                "--max-memory-per-child --detach --pidfile --uid --gid --umask --executable"
            ),
        },
        accepted={
            "the largest number of processes runs all the time": "--autoscale",
            "a worker holds only what it can start": "--optimization --prefetch-multiplier --disable-prefetch",
            "children are forked from a clean process": "--pool-start-method",
            "the store shows who is alive": "--without-gossip --without-mingle --without-heartbeat --heartbeat-interval",
            "all state lies in the store": "--statedb",
            "it sends no events yet": "--task-events",
            "there is no scheduler yet; --beat is an error that says so": "--schedule-filename --scheduler --beat",
        },
    ),
    _command(
        "call",
        works={
            "test_call_has_the_options_of_apply_async": "--args --eta --countdown --expires --queue",
            "test_call_sends_a_task_and_result_waits_for_it": "--kwargs",
            _TAKEN: "--serializer --exchange --routing-key",
        },
    ),
    _command(
        "result",
        works={"test_the_result_of_a_failed_task": "--traceback"},
        accepted={"the id is enough": "--task"},
    ),
    _command("status", works={_TAKEN: "--timeout --destination --json"}),
    _command("purge", works={"test_purge_leaves_what_runs": "--force", _TAKEN: "--queues --exclude-queues"}),
    _command(
        "shell",
        works={_TAKEN: "--ipython --bpython --python --without-tasks"},
        accepted={_NO_GREENLETS: "--eventlet --gevent"},
    ),
)
