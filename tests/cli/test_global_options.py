"""The options before the command, Celery's commands that are not there, and JSON for other programs."""

from __future__ import annotations

import json

import pytest

from celeriac.cli.elsewhere import ELSEWHERE
from support.project import Client, Project
from support.worker import WorkerProcess


@pytest.mark.parametrize("command", sorted(ELSEWHERE))
def test_celerys_other_commands_are_answered_in_one_line(command: str, project: Project) -> None:
    done = project.celeriac("-A", "tasks", command, "--whatever", "x")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"Error: celeriac has no {command} in this version: {ELSEWHERE[command]}\n"


def test_settings_of_a_module_win_over_the_applications_and_options_over_both(project: Project) -> None:
    project.with_common_tasks(result_expires=60, broker_url="sqlite:///one.db")
    project.write("production", "result_expires = 70\nbroker_url = 'sqlite:///two.db'\n")
    report = project.celeriac("-A", "tasks", "--config", "production", "report").stdout
    assert "  result_expires = 70\n" in report
    assert "two.db" in report
    words = ("-A", "tasks", "--config", "production", "-b", "sqlite:///three.db")
    assert "three.db" in project.celeriac(*words, "report").stdout


def test_a_worker_takes_the_settings_of_the_module_too(project: Project) -> None:
    project.with_common_tasks()
    project.write("production", "task_default_queue = 'mails'\n")
    words = [project.script, "--config", "production", "-A", "tasks", "worker", "-c", "1"]
    with WorkerProcess(words, project.folder, project.environment) as worker:
        worker.wait_for(r"^  \. mails$")
    done = project.celeriac("-A", "tasks", "--config", "productoin", "worker")
    assert done.returncode == 1
    assert "--config names 'productoin', but there is no module 'productoin'" in done.stderr


def test_quiet_is_without_banner_and_notes(project: Project) -> None:
    project.with_common_tasks()
    done = project.celeriac("--loader", "x", "--skip-checks", "-A", "tasks", "report")
    assert (done.returncode, done.stderr[:28]) == (0, "Note: --loader has no effect")
    assert project.celeriac("-q", "--loader", "x", "-A", "tasks", "report").stderr == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["worker", "--config", "x"], "--config belongs before the command: celeriac --config MODULE worker"),
        (["worker", "-q"], "-q belongs before the command: celeriac -q worker"),
        (["status", "--no-color"], "--no-color belongs before the command: celeriac --no-color status"),
    ],
)
def test_options_behind_the_command_are_shown_their_place(arguments: list[str], said: str, project: Project) -> None:
    done = project.celeriac(*arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_store_can_be_looked_at_without_an_application(project: Project, client: Client) -> None:
    client.send("add", 1, 2, queue="mails")
    broker = f"sqlite:///{project.store}"
    state = json.loads(project.celeriac("-b", broker, "status", "-j").stdout)
    assert state["unserved"] == ["mails"]
    sent = json.loads(
        project.celeriac("-b", broker, "call", "other.task", "-a", "[1]", "--queue", "mails", "-j").stdout
    )
    assert sent["task"] == "other.task"
    assert {message.task for message in client.app.broker.peek("mails")} == {"tasks.add", "other.task"}
    assert json.loads(project.celeriac("-b", broker, "purge", "-fj", "-Q", "mails,a", "-X", "a").stdout) == {
        "deleted": 2,
        "queues": {"mails": 2},
    }


def test_a_task_that_the_application_lacks_is_sent_if_asked(project: Project, client: Client) -> None:
    project.with_common_tasks()
    done = project.celeriac("-A", "tasks", "call", "other.task")
    assert done.returncode == 1
    assert "--send-anyway" in done.stderr
    done = project.celeriac("-A", "tasks", "call", "other.task", "-k", '{"x": 1}', "--send-anyway")
    (message,) = client.app.broker.peek("celery")
    assert (done.returncode, message.task, message.id) == (0, "other.task", done.stdout.strip())


def test_status_of_one_worker_is_an_exit_status(project: Project) -> None:
    project.with_common_tasks()
    with project.worker("-c", 1, "-n", "one@here") as worker:
        worker.wait_until_ready()
        assert project.celeriac("-A", "tasks", "status", "-d", "one@here").returncode == 0
        done = project.celeriac("-A", "tasks", "status", "-t", 3, "-d", "one@here,two@here", "-j")
    assert (done.returncode, done.stderr) == (1, "Error: not alive: two@here\n")
    assert [shown["node"]["name"] for shown in json.loads(done.stdout)["workers"]] == ["one@here"]


def test_report_as_json_masks_secrets_too(project: Project) -> None:
    project.with_common_tasks(my_service_token="hunter2")
    done = project.celeriac("-A", "tasks", "report", "-j")
    assert "hunter" not in done.stdout
    facts = json.loads(done.stdout)
    assert facts["settings"]["my_service_token"] == "********"
    assert "tasks.add" in facts["tasks"]
