"""`celeriac dead`: what is shown of a dead letter, and what can be done with it."""

from __future__ import annotations

import base64
import json
import os
import pickle
import re
import sqlite3
import subprocess
from collections.abc import Callable

import pytest

from support.project import Client, Project
from support.waiting import until

_NO_MESSAGE = b'{"body": "W10=", "headers": {"id": "abc", "task": 7\xff'


@pytest.fixture
def dead(project: Project, client: Client) -> str:
    """A dead letter of a task that failed; its task id."""
    project.with_common_tasks()
    with project.worker("-c", 1) as worker:
        result = client.send("fail", "tray 2")
        result.get(timeout=30, propagate=False)
        assert worker.stop() == 0
    return result.id


def test_list_and_show(project: Project, dead: str) -> None:
    listed = project.celeriac("-A", "tasks", "dead", "list")
    assert listed.returncode == 0
    head, row = listed.stdout.splitlines()
    assert head.split() == ["ID", "AGE", "QUEUE", "TASK", "REASON"]
    assert re.fullmatch(rf" *1 +\d+ s +celery +tasks\.fail\[{dead}\] +OutOfPaper\('tray 2'\)", row)
    shown = project.celeriac("-A", "tasks", "dead", "show", 1).stdout
    for line in (
        "task:       tasks.fail",
        f"task id:    {dead}",
        "queue:      celery",
        "deliveries: 1",
        "reason:     OutOfPaper('tray 2')",
        "retries:    0",
        "args:       ['tray 2']",
        "kwargs:     {}",
    ):
        assert f"{line}\n" in shown
    assert re.search(r"\n\nTraceback \(most recent call last\):\n(.*\n)+tasks\.OutOfPaper: tray 2\n$", shown)
    (letter,) = json.loads(project.celeriac("-A", "tasks", "dead", "list", "--json").stdout)
    assert letter == json.loads(project.celeriac("-A", "tasks", "dead", "show", 1, "--json").stdout)
    assert (letter["id"], letter["task"], letter["task_id"], letter["args"]) == (1, "tasks.fail", dead, ["tray 2"])
    assert project.celeriac("-A", "tasks", "dead", "list", "-Q", "mails").stdout == "No dead letters.\n"


def test_retry_runs_it_again(project: Project, client: Client, dead: str) -> None:
    done = project.celeriac("-A", "tasks", "dead", "retry", 1)
    assert (done.returncode, done.stdout) == (0, "Sent 1 task again.\n")
    assert client.app.broker.dead() == []
    # Whoever asks waits for the new run, and does not get the old result.
    assert project.celeriac("-A", "tasks", "result", dead).stdout.startswith("PENDING")
    project.write("tasks", (project.folder / "tasks.py").read_text().replace("raise OutOfPaper(text)", "return text"))
    with project.worker("-c", 1):
        done = project.celeriac("-A", "tasks", "result", dead, "--wait", 30)
        assert (done.returncode, done.stdout) == (0, "SUCCESS: 'tray 2'\n")


def test_drop_asks_first(project: Project, client: Client, dead: str) -> None:
    done = project.celeriac("-A", "tasks", "dead", "drop", 1, answers="n\n")
    assert done.returncode != 0
    assert len(client.app.broker.dead()) == 1
    done = project.celeriac("-A", "tasks", "dead", "drop", "--all", answers="y\n")
    assert (done.returncode, done.stdout.rpartition(": ")[2].strip()) == (0, "Deleted 1 dead letter.")
    assert client.app.broker.dead() == []
    assert project.celeriac("-A", "tasks", "dead", "list").stdout == "No dead letters.\n"


@pytest.fixture
def several(project: Project, client: Client) -> list[str]:
    """Dead letters of tasks that failed in two ways, in two queues; their task ids in order."""
    project.with_common_tasks()
    with project.worker("-c", 1, "-Q", "celery,mails"):
        sent = [client.send("fail", "one"), client.send("add", 1, "x"), client.send("fail", "two", queue="mails")]
        for result in sent:
            result.get(timeout=30, propagate=False)
    return [result.id for result in sent]


def test_letters_are_chosen_by_what_is_known_of_them(project: Project, several: list[str]) -> None:
    for filters, found in [
        (["--task", "tasks.fail"], {0, 2}),
        (["--task", "*.add"], {1}),
        (["--reason", "outofpaper", "--queue", "mails"], {2}),
        (["--newer-than", "1h"], {0, 1, 2}),
        (["--older-than", "1h"], set()),
    ]:
        letters = json.loads(project.celeriac("-A", "tasks", "dead", "list", "--json", *filters).stdout)
        assert {several.index(letter["task_id"]) for letter in letters} == found
    for verb in ("retry", "drop"):  # with nothing to do nothing is asked
        done = project.celeriac("-A", "tasks", "dead", verb, "--task", "unknown", answers="")
        assert (done.returncode, done.stdout) == (0, "No dead letter is like that.\n")
    done = project.celeriac("-A", "tasks", "dead", "drop", "--task", "tasks.fail", "--yes")
    assert done.stdout == "Deleted 2 dead letters.\n"


def test_many_are_sent_again_after_a_question_in_the_order_they_were_buried(
    project: Project, client: Client, several: list[str]
) -> None:
    buried = [letter.task_id for letter in client.app.broker.dead()][::-1]
    done = project.celeriac("-A", "tasks", "dead", "retry", "--task", "tasks.*", answers="n\n")
    assert (done.returncode != 0, len(client.app.broker.dead())) == (True, 3)
    assert "Send 3 dead letters again?" in done.stdout
    done = project.celeriac("-A", "tasks", "dead", "retry", "--task", "tasks.*", "--to", "one", answers="y\n")
    assert done.stdout.endswith("Sent 3 tasks again.\n")
    assert [message.id for message in client.app.broker.peek("one")] == buried


def test_a_letter_is_sent_again_with_other_arguments_to_another_queue(
    project: Project, client: Client, several: list[str]
) -> None:
    added = next(letter for letter in client.app.dead_letters if letter.task_id == several[1])
    options = ["--args", "[3]", "--kwargs", '{"y": 4}', "--to", "other", "--priority", "2"]
    done = project.celeriac("-A", "tasks", "dead", "retry", added.id, *options)
    assert done.stdout == "Sent 1 task again.\n"
    (message,) = client.app.broker.peek("other")
    assert message.priority == 2
    with project.worker("-c", 1, "-Q", "other"):
        assert client.app.AsyncResult(several[1]).get(timeout=30) == 7


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["show", "9"], 1, "there is no dead letter 9; `celeriac dead list` shows those there are"),
        (["show", "x"], 2, "'x' is not a valid integer"),
        (
            ["retry"],
            1,
            "name letters by their id (celeriac dead list shows them), or write --all, --queue, --task, --reason, ",
        ),
        (["retry", "9", "--task", "x"], 1, "name letters by their id"),
        (["list", "--older-than", "soon"], 2, "'soon' is not a time; write it like 90s, 15m, 2h or 7d"),
        (["retry", "9", "--args", "{}"], 2, "'{}' is not a JSON list"),
        (["retry", "9"], 1, "there is no dead letter 9"),
        (["retry", "9", "--all"], 1, "name letters by their id"),
        (["drop", "-f"], 1, "name letters by their id"),
        (["shw", "1"], 2, "No such command 'shw'. Did you mean 'show'?"),
    ],
)
def test_words_that_are_wrong(arguments: list[str], status: int, said: str, project: Project) -> None:
    project.with_common_tasks()
    done = project.celeriac("-A", "tasks", "dead", *arguments)
    assert done.returncode == status
    assert said.lower() in done.stderr.splitlines()[-1].lower()
    assert "Traceback" not in done.stderr


def test_bytes_that_are_no_message_are_buried_and_kept(project: Project, client: Client) -> None:
    project.with_common_tasks()
    with project.worker("-c", 1) as worker:
        worker.wait_until_ready()
        client.run("add", 1, 1)
        with sqlite3.connect(project.store) as connection:
            message = connection.execute("INSERT INTO messages (raw) VALUES (?)", (_NO_MESSAGE,)).lastrowid
            connection.execute("INSERT INTO ready VALUES ('celery', 0, ?, 0, 0, 0)", (message,))
        connection.close()
        (letter,) = until(client.app.broker.dead, "the bytes are buried")
        worker.wait_for(r"ERROR/\S+\] Buried a message of queue celery that cannot be read: not JSON: ")
        assert client.run("add", 1, 2) == 3  # and the worker works on
    assert letter.raw == _NO_MESSAGE
    listed = project.celeriac("-A", "tasks", "dead", "list").stdout
    assert re.search(r"^ *1 .* celery +\? +not JSON: ", listed, re.MULTILINE), listed
    shown = project.celeriac("-A", "tasks", "dead", "show", 1).stdout
    assert "reason:     not JSON: " in shown
    assert f"bytes:      {_NO_MESSAGE!r}\n" in shown
    raw = project.folder / "raw"
    assert project.celeriac("-A", "tasks", "dead", "show", 1, "--json").returncode == 0
    with raw.open("wb") as file:
        subprocess.run(
            [project.script, "-A", "tasks", "dead", "show", "1", "--raw"],
            cwd=project.folder,
            env=project.environment,
            stdout=file,
            check=True,
        )
    assert raw.read_bytes() == _NO_MESSAGE
    done = project.celeriac("-A", "tasks", "dead", "retry", "--all", "--yes")
    assert done.returncode == 1
    assert "dead letter 1 cannot be sent again, as it cannot be read: not JSON" in done.stderr
    assert client.app.broker.dead() == [letter]


def test_a_message_whose_body_cannot_be_read_fails_and_is_kept(project: Project, client: Client) -> None:
    project.with_common_tasks()
    result = client.send("add", 1, 2)
    with sqlite3.connect(project.store) as connection:
        (raw,) = connection.execute("SELECT raw FROM messages").fetchone()
        envelope = json.loads(raw)
        envelope["content-type"] = "application/x-python-serialize"
        connection.execute("UPDATE messages SET raw = ?", (json.dumps(envelope).encode(),))
    connection.close()
    with project.worker("-c", 1):
        error = result.get(timeout=30, propagate=False)
        assert "content type 'application/x-python-serialize' is not accepted" in str(error)
    shown = project.celeriac("-A", "tasks", "dead", "show", 1).stdout
    assert "task:       tasks.add\n" in shown
    assert "accept_content allows" in shown


class _Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self.folder,)


def test_showing_a_pickled_body_does_not_unpickle_it(project: Project, client: Client) -> None:
    project.with_common_tasks()
    result = client.send("add", 1, 2)
    sprung = project.folder / "sprung"
    with sqlite3.connect(project.store) as connection:
        (raw,) = connection.execute("SELECT raw FROM messages").fetchone()
        envelope = json.loads(raw)
        envelope["content-type"] = "application/x-python-serialize"
        envelope["body"] = base64.b64encode(pickle.dumps(((_Trap(str(sprung)),), {}, {}))).decode()
        envelope["properties"]["body_encoding"] = "base64"
        connection.execute("UPDATE messages SET raw = ?", (json.dumps(envelope).encode(),))
    connection.close()
    with project.worker("-c", 1):
        result.get(timeout=30, propagate=False)
    shown = project.celeriac("-A", "tasks", "dead", "show", 1).stdout
    assert re.search(r"^body: .*sprung", shown, re.MULTILINE)
    assert not sprung.exists()
