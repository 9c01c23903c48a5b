"""`celeriac call` and `celeriac result`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from support.gate import Gate
from support.project import Client, Project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project(tmp_path_factory.mktemp("call")).with_common_tasks()
    with project.worker("-c", 2) as worker:
        worker.wait_until_ready()
        yield project


def _call(project: Project, *arguments: str | int) -> str:
    done = project.celeriac("-A", "tasks", "call", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"[0-9a-f-]{36}\n", done.stdout)
    return done.stdout.strip()


def test_call_sends_a_task_and_result_waits_for_it(project: Project) -> None:
    task_id = _call(project, "tasks.add", "-a", "[4, 4]")
    done = project.celeriac("-A", "tasks", "result", task_id, "--wait", 30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "SUCCESS: 8\n", "")
    by_name = _call(project, "tasks.add", "--kwargs", '{"x": 1, "y": 2}')
    done = project.celeriac("-A", "tasks", "result", by_name, "--wait", 30, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"task_id": by_name, "state": "SUCCESS", "result": 3, "traceback": None}


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["tasks.add", "-a", "[4, 4"], 2, "'[4, 4' is not JSON"),
        (["tasks.add", "-a", "{}"], 2, "'{}' is not a JSON list; write it like '[4, 4]'"),
        (["tasks.add", "-k", "[4]"], 2, "'[4]' is not a JSON object; write it like '{\"x\": 4}'"),
        (["tasks.add", "-a", "[4]"], 1, "tasks.add(x, y): missing a required argument: 'y'"),
        (["tasks.add", "-a", "[1, 2, 3]"], 1, "tasks.add(x, y): too many positional arguments"),
        (["tasks.ad", "-a", "[1, 2]"], 1, "there is no task 'tasks.ad' in this application; did you mean 'tasks.add'?"),
        (["add", "-a", "[1, 2]"], 1, "there is no task 'add' in this application; did you mean 'tasks.add'?"),
        (["tasks.add", "-a", "[1, 2]", "--eta", "soon"], 2, "'soon' is not a time; write it like 2026-12-24T18:00"),
        (["tasks.add", "-a", "[1, 2]", "--countdown", "x"], 2, "'x' is not a valid float"),
        (["tasks.add", "-a", "[1, 2]", "--priority", "10"], 2, "10 is not in the range 0<=x<=9"),
        (["tasks.add", "-a", "[1, 2]", "--countdown", "1", "--eta", "2030-01-01"], 1, "countdown or eta, not both"),
    ],
)
def test_calls_that_are_wrong(arguments: list[str], status: int, said: str, project: Project) -> None:
    done = project.celeriac("-A", "tasks", "call", *arguments)
    assert done.returncode == status
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_call_has_the_options_of_apply_async(project: Project, client: Client) -> None:
    _call(project, "tasks.add", "-a", "[1, 2]", "--queue", "elsewhere", "--priority", 3)
    (message,) = client.app.broker.peek("elsewhere")
    assert (message.task, message.priority) == ("tasks.add", 3)
    later = [
        _call(project, "tasks.add", "-a", "[1, 2]", "--queue", "later", "--countdown", 3600),
        _call(project, "tasks.add", "-a", "[1, 2]", "--queue", "later", "--eta", "2099-12-24T18:00"),
        _call(project, "tasks.add", "-a", "[1, 2]", "--queue", "later", "--eta", "2099-12-24T18:00+01:00"),
    ]
    assert (client.queue("later").delayed, client.queue("later").ready) == (len(later), 0)
    assert client.app.broker.purge("later") == 3
    expired = _call(project, "tasks.add", "-a", "[1, 2]", "--expires", "2020-01-01T00:00:00+00:00")
    done = project.celeriac("-A", "tasks", "result", expired, "--wait", 30)
    assert (done.returncode, done.stdout) == (1, "REVOKED: TaskRevokedError('expired')\n")
    assert client.app.broker.purge("elsewhere") == 1


def test_the_result_of_a_failed_task(project: Project) -> None:
    task_id = _call(project, "tasks.fail", "-a", '["tray 2"]')
    done = project.celeriac("-A", "tasks", "result", task_id, "--wait", 30)
    assert (done.returncode, done.stdout, done.stderr) == (1, "FAILURE: OutOfPaper('tray 2')\n", "")
    done = project.celeriac("-A", "tasks", "result", task_id, "--traceback")
    assert done.returncode == 1
    assert done.stdout.startswith("Traceback (most recent call last):\n")
    assert done.stdout.endswith("tasks.OutOfPaper: tray 2\n")
    document = json.loads(project.celeriac("-A", "tasks", "result", task_id, "--json").stdout)
    assert (document["state"], document["result"]) == ("FAILURE", "OutOfPaper('tray 2')")
    assert document["traceback"].endswith("tray 2\n")


def test_the_result_of_a_task_that_has_not_ended(project: Project, client: Client, gate: Gate) -> None:
    result = client.send("report_progress", gate.port)
    arrival = gate.arrival()
    done = project.celeriac("-A", "tasks", "result", result.id, "--wait", 0.2)
    assert (done.returncode, done.stdout, done.stderr) == (2, "PROGRESS: {'done': 3, 'of': 5}\n", "")
    arrival.open()


def test_the_result_of_an_id_that_nobody_knows(project: Project) -> None:
    done = project.celeriac("-A", "tasks", "result", "no-such-id")
    assert done.returncode == 2
    assert done.stdout.startswith("PENDING: it waits in its queue, or the id is unknown")
    assert project.celeriac("-A", "tasks", "result", "no-such-id", "--wait", 0.1).returncode == 2
