"""`celeriac worker`: what each option asks of the worker, or why it asks nothing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from celeriac.cli import cli, worker
from celeriac.worker import Wishes
from support.project import Client, Project

_CELERY = Path(__file__).parents[2] / ".peers" / "celery" / "bin" / "python"


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[Wishes, Result]:
    asked: list[Wishes] = []
    monkeypatch.setattr(worker, "run_worker", lambda wishes: asked.append(wishes) or 0)
    done = CliRunner().invoke(cli, ["-A", "tasks", "worker", *arguments])
    assert done.exit_code == 0, done.output
    (wishes,) = asked
    return wishes, done


@pytest.mark.parametrize(
    ("arguments", "wished"),
    [
        (["-c", "3"], {"concurrency": 3}),
        (["--autoscale", "10,3"], {"concurrency": 10}),
        (["--autoscale=8"], {"concurrency": 8}),
        (["-P", "processes"], {"pool": "prefork"}),
        (["-P", "threads"], {"pool": "threads"}),
        (["-P", "asyncio"], {"pool": "asyncio"}),
        (["-Q", "a, b,a"], {"queues": ("a", "b")}),
        (["-X", "a,b"], {"excluded_queues": ("a", "b")}),
        (["--purge"], {"purge": True}),
        (["--discard"], {"purge": True}),
        (["-l", "fatal"], {"loglevel": "CRITICAL"}),
        (["-I", "one,two"], {"settings": {"include": ("one", "two")}}),
        (["--time-limit", "9"], {"settings": {"task_time_limit": 9.0}}),
        (["--soft-time-limit", "0.5"], {"settings": {"task_soft_time_limit": 0.5}}),
        (["--max-tasks-per-child", "5"], {"settings": {"worker_max_tasks_per_child": 5}}),
        (["--max-memory-per-child", "5000"], {"settings": {"worker_max_memory_per_child": 5000}}),
        (["-E"], {"settings": {"worker_send_task_events": True}}),
    ],
)
def test_what_an_option_asks_for(arguments: list[str], wished: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    wishes, _ = _run(monkeypatch, *arguments)
    plain, _ = _run(monkeypatch)
    for name in Wishes.__struct_fields__:
        assert getattr(wishes, name) == wished.get(name, getattr(plain, name)), name


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["-O", "fair"], "-O has no effect: a worker never takes more than it can start"),
        (["--prefetch-multiplier", "1"], "--prefetch-multiplier has no effect"),
        (["--without-gossip"], "--without-gossip has no effect: workers do not talk to each other"),
        (["--without-heartbeat"], "--without-heartbeat has no effect: a worker shows in the store that it is alive"),
        (["-S", "state.db"], "-S has no effect: a worker has no state of its own"),
        (["-E"], "-E has no effect: this version sends no task events"),
        (["--autoscale", "4,2"], "all 4 processes run from the start"),
    ],
)
def test_an_option_without_effect_says_so_in_one_line(
    arguments: list[str], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, done = _run(monkeypatch, *arguments)
    (line,) = done.stderr.splitlines()
    assert line.startswith("Note: ")
    assert why in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-B"], "-B would schedule nothing: this version has no scheduler"),
        (["--reload", "-D"], "--reload is for development"),
        (["--umask", "9", "-f", "w.log"], "--umask 9 is not an octal number"),
        (["--uid", "no-such-user"], "no such user or group"),
        (["--executable", "/no/python"], "--executable /no/python cannot be run: No such file or directory"),
    ],
)
def test_what_is_refused(arguments: list[str], said: str, project: Project) -> None:
    project.with_common_tasks()
    done = project.celeriac("-A", "tasks", "worker", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_included_module_adds_to_the_applications_own(project: Project, client: Client) -> None:
    project.write("tasks", "from celeriac import Celery\napp = Celery('tasks', include=['one'])\n")
    for module in ("one", "two"):
        project.write(module, f"from tasks import app\n@app.task\ndef name():\n    return {module!r}\n")
    with project.worker("-c", 1, "-I", "two"):
        assert [client.run("one.name"), client.run("two.name")] == ["one", "two"]


_DUMP = """
import json
from celery.bin.celery import celery
names = ("worker", "call", "result", "purge", "status", "report", "shell")
commands = {"": celery, **{name: celery.commands[name] for name in names}}
print(json.dumps({name: [option for parameter in command.params for option in parameter.opts if option[0] == "-"]
                  for name, command in commands.items()}))
"""


@pytest.mark.skipif(not _CELERY.exists(), reason="needs the released Celery in .peers")
def test_every_option_of_celery_is_known() -> None:
    done = subprocess.run([_CELERY, "-c", _DUMP], capture_output=True, text=True, check=True, timeout=60)
    context = click.Context(cli)
    for name, options in json.loads(done.stdout).items():
        ours = cli.get_command(context, name) if name else cli
        assert ours is not None
        known = {option for parameter in ours.get_params(context) for option in parameter.opts}
        assert set(options) - known == set(), name
