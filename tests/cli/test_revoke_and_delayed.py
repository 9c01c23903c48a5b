"""`celeriac revoke`, `control` and `delayed`: what is revoked, and what waits for its time."""

from __future__ import annotations

import json
import re

import pytest

from support.project import Client, Project


@pytest.fixture(autouse=True)
def tasks(project: Project) -> None:
    project.with_common_tasks()


def said(project: Project, *arguments: str | int) -> str:
    done = project.celeriac("-A", "tasks", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_revoke_takes_out_what_waits_and_says_so(project: Project, client: Client) -> None:
    ready, delayed = client.send("add", 1, 1), client.send("add", 1, 2, countdown=3600)
    assert said(project, "revoke", ready.id, delayed.id, "unknown") == (
        "Revoked 3 tasks; 2 messages taken out of queues.\n"
    )
    assert (ready.state, delayed.state) == ("REVOKED", "REVOKED")
    assert json.loads(said(project, "revoke", "unknown", "--json")) == {"taken_out": 0}


def test_revocations_are_listed_and_taken_back(project: Project) -> None:
    assert said(project, "revoke", "--list") == "Nothing is revoked.\n"
    said(project, "revoke", "one", "--expires", "3000")
    said(project, "revoke", "two", "--terminate", "--signal", "kill")
    head, *rows = said(project, "revoke", "--list").splitlines()
    assert head.split() == ["ID", "HOLDS", "FOR", "TERMINATES", "BY"]
    assert [row.split() for row in rows] == [["one", "50", "min", "-"], ["two", "1", "d", "SIGKILL"]] or (
        rows[1].split() == ["two", "24", "h", "SIGKILL"]
    )
    assert [one["id"] for one in json.loads(said(project, "revoke", "--list", "--json"))] == ["one", "two"]
    assert said(project, "revoke", "--undo", "one", "three") == "Took 1 revocation back.\n"
    assert [one["id"] for one in json.loads(said(project, "revoke", "--list", "--json"))] == ["two"]


def test_celerys_words_revoke_and_terminate(project: Project, client: Client) -> None:
    waiting = client.send("add", 1, 1)
    assert said(project, "control", "revoke", waiting.id).startswith("Revoked 1 task; 1 message")
    assert said(project, "control", "terminate", "SIGKILL", "two").startswith("Revoked 1 task; 0 messages")
    listed = json.loads(said(project, "revoke", "--list", "--json"))
    assert {one["id"]: one["signal"] for one in listed} == {waiting.id: None, "two": "SIGKILL"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("revoke",), "--list"),
        (("revoke", "one", "--list"), "--list"),
        (("revoke", "one", "--terminate", "--signal", "SIGNOTHING"), "there is no signal 'SIGNOTHING'"),
        (("revoke", "one", "--signal", "SIGKILL"), "--signal goes with --terminate"),
        (("revoke", "one", "--undo", "--terminate"), "--undo"),
        (("revoke", "--list", "--undo"), "--undo"),
        (("delayed", "run"), "--all"),
        (("delayed", "run", "one", "--queue", "mails"), "--queue belongs to --all"),
        (("delayed", "run", "one"), "not delayed: one; `celeriac delayed list`"),
        (("delayed", "show", "unknown"), "no task unknown is delayed"),
    ],
)
def test_what_is_wrong_is_said(project: Project, arguments: tuple[str, ...], words: str) -> None:
    done = project.celeriac("-A", "tasks", *arguments)
    assert done.returncode == 1
    assert words in done.stderr


def test_delayed_tasks_are_listed_and_shown(project: Project, client: Client) -> None:
    assert said(project, "delayed", "list") == "Nothing is delayed.\n"
    late = client.send("add", 1, 2, countdown=7200)
    soon = client.send("add", 3, 4, countdown=180.9)
    head, *rows = said(project, "delayed", "list").splitlines()
    assert head.split() == ["DUE", "IN", "QUEUE", "TASK", "ID", "RETRIES"]
    assert [row.split() for row in rows] == [
        ["3", "min", "celery", "tasks.add", soon.id, "0"],
        ["2", "h", "celery", "tasks.add", late.id, "0"],
    ]
    shown = said(project, "delayed", "show", late.id)
    assert re.search(r"^due: +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S+ \(in 2 h\)$", shown, re.MULTILINE)
    assert f"task id:    {late.id}\n" in shown
    assert "args:       [1, 2]\n" in shown
    (first,) = json.loads(said(project, "delayed", "list", "-n", 1, "--json"))
    assert first == json.loads(said(project, "delayed", "show", soon.id, "--json"))
    assert (first["id"], first["queue"], first["args"]) == (soon.id, "celery", [3, 4])


def test_a_delayed_task_is_run_now(project: Project, client: Client) -> None:
    now, later = client.send("add", 1, 2, countdown=3600), client.send("add", 3, 4, countdown=3600)
    with project.worker("-c", 1) as worker:
        worker.wait_until_ready()
        assert said(project, "delayed", "run", now.id, "unknown") == "1 delayed task may run now.\n"
        assert now.get(timeout=30) == 3
        assert later.state == "PENDING"
        assert json.loads(said(project, "delayed", "run", "--all", "--json")) == {"run": 1}
        assert later.get(timeout=30) == 7


def test_a_delayed_task_is_revoked(project: Project, client: Client) -> None:
    result = client.send("add", 1, 2, countdown=3600)
    assert said(project, "delayed", "revoke", result.id) == "Took 1 delayed task out.\n"
    assert result.state == "REVOKED"
    assert client.queue().delayed == 0


def test_revoking_what_is_not_delayed_says_that_it_is_revoked_all_the_same(project: Project) -> None:
    done = project.celeriac("-A", "tasks", "delayed", "revoke", "unknown")
    assert (done.returncode, done.stdout) == (0, "Took 0 delayed tasks out.\n")
    assert "1 of them did not wait; revoked all the same" in done.stderr
    assert [one["id"] for one in json.loads(said(project, "revoke", "--list", "--json"))] == ["unknown"]
