"""`celeriac report`, `--version`, `--help`, and `python -m celeriac`."""

from __future__ import annotations

import platform
import re

import click
import pytest

import celeriac
from celeriac.cli.errors import exit_status
from support.project import Project


def test_report_says_what_a_bug_report_should_and_no_secrets(project: Project) -> None:
    project.with_common_tasks(
        broker_transport_options={"synchronous": "normal"},
        my_service={"password": "hunter2", "nested": {"api_key": "hunter3"}},
        result_expires=60,
        result_backend="sqlite:///results.db",
        my_service_token="hunter4",
        my_service_url="https://user:hunter5@example.org/",
        my_service_urls=["https://user:hunter6@example.org/"],
    )
    done = project.celeriac("-A", "tasks", "report")
    assert done.returncode == 0
    report = done.stdout
    assert f"celeriac:  {celeriac.__version__}\n" in report
    assert f"CPython {platform.python_version()}" in report
    assert f"broker:    sqlite:///{project.store}\n" in report
    assert f"results:   sqlite:///{project.folder}/results.db\n" in report
    assert "tasks.add" in report
    assert "  result_expires = 60\n" in report
    assert "hunter" not in report, report
    assert "my_service_token = ********" in report
    assert "https://user:********@example.org/" in report


def test_report_works_without_an_application(project: Project) -> None:
    done = project.celeriac("report")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"celeriac:  {celeriac.__version__}\n" in done.stdout


def test_version(project: Project) -> None:
    assert celeriac.__version__ in project.celeriac("--version").stdout
    assert project.celeriac("--version").returncode == 0


def test_python_m_celeriac_is_the_same_command(project: Project) -> None:
    project.with_common_tasks()
    done = project.python(
        """
        import subprocess, sys
        for arguments in (["--version"], ["-A", "tasks", "status"], ["-A", "tasks", "result", "x"]):
            print(subprocess.run([sys.executable, "-m", "celeriac", *arguments], capture_output=True).returncode)
        """
    )
    assert done.stdout.split() == ["0", "0", "2"]


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["worker"],
        ["call"],
        ["result"],
        ["status"],
        ["purge"],
        ["dead"],
        ["delayed"],
        ["revoke"],
        ["control"],
        ["recover"],
        ["report"],
        ["shell"],
        ["completion"],
    ],
)
def test_every_command_has_help(command: list[str], project: Project) -> None:
    done = project.celeriac(*command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: celeriac ")
    assert done.stderr == ""


def test_the_plain_command_shows_what_there_is(project: Project) -> None:
    done = project.celeriac()
    text = done.stdout + done.stderr
    assert done.returncode == 2
    for command in ("worker", "call", "result", "status", "purge", "dead", "report", "shell", "completion"):
        assert f"\n  {command} " in text


def test_only_an_unanswered_question_promises_that_nothing_was_changed(capsys: pytest.CaptureFixture[str]) -> None:
    @click.command()
    def halfway() -> None:
        raise KeyboardInterrupt

    @click.command()
    def asks() -> None:
        raise click.Abort

    assert exit_status(lambda: halfway.main([], standalone_mode=False)) == 130
    assert capsys.readouterr().err.strip() == "Stopped."
    assert exit_status(lambda: asks.main([], standalone_mode=False)) == 130
    assert capsys.readouterr().err == "Stopped; nothing was changed.\n"


def test_groups_list_their_commands_in_the_order_of_use(project: Project) -> None:
    text = project.celeriac("dead", "--help").stdout
    assert re.findall(r"^  (\w+)  ", text.partition("Commands:")[2], re.MULTILINE) == ["list", "show", "retry", "drop"]
