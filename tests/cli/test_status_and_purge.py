"""`celeriac status` and `celeriac purge`."""

from __future__ import annotations

import json
import re
import socket

from support.gate import Gate
from support.project import Client, Project


def test_status_without_workers_names_what_nobody_serves(project: Project, client: Client) -> None:
    project.with_common_tasks()
    done = project.celeriac("-A", "tasks", "status")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == f"sqlite:///{project.store}"
    assert "No workers.\n" in done.stdout
    assert "No living worker" not in done.stdout  # nothing waits for one yet
    client.send("add", 1, 2)
    client.send("add", 1, 2, queue="mails", countdown=600)
    done = project.celeriac("-A", "tasks", "status")
    assert done.stdout.splitlines()[-1] == (
        "No living worker serves celery,mails; start one: celeriac -A tasks worker -Q celery,mails"
    )
    assert re.search(r"^QUEUE +READY +OLDEST +LEASED +DELAYED +DEAD$", done.stdout, re.MULTILINE)
    assert re.search(r"^celery +1 +\d+ s +0 +0 +0$", done.stdout, re.MULTILINE)
    assert re.search(r"^mails +0 +- +0 +1 +0$", done.stdout, re.MULTILINE)


def test_status_shows_workers_living_and_dead(project: Project, client: Client, gate: Gate) -> None:
    project.with_common_tasks()
    name = f"one@{socket.gethostname()}"
    with project.worker("-c", 2, "-n", "one", "-Q", "celery,mails") as worker:
        client.send("hold", gate.port)
        arrival = gate.arrival()
        shown = project.celeriac("-A", "tasks", "status").stdout
        pattern = rf"^{re.escape(name)} +alive +{worker.pid} +prefork 2 +celery,mails +1 +\d+ s$"
        assert re.search(pattern, shown, re.MULTILINE), shown
        state = json.loads(project.celeriac("-A", "tasks", "status", "--json").stdout)
        assert state["store"] == f"sqlite:///{project.store}"
        (shown_worker,) = state["workers"]
        assert (shown_worker["node"]["name"], shown_worker["alive"], shown_worker["leased"]) == (name, True, 1)
        assert {queue["name"]: queue["leased"] for queue in state["queues"]} == {"celery": 1, "mails": 0}
        assert state["unserved"] == []
        worker.kill()
        arrival.open()
    shown = project.celeriac("-A", "tasks", "status").stdout
    assert re.search(
        rf"^{re.escape(name)} +dead +{worker.pid} +prefork 2 +celery,mails +1 +\d+ s$", shown, re.MULTILINE
    )


def test_purge_asks_first(project: Project, client: Client) -> None:
    project.with_common_tasks()
    for _ in range(3):
        client.send("add", 1, 2)
    client.send("add", 1, 2, countdown=600)
    client.send("add", 1, 2, queue="mails")
    where = f"celery of sqlite:///{project.store}"
    for answer in ("n\n", "\n", ""):
        done = project.celeriac("-A", "tasks", "purge", answers=answer)
        assert f"Delete 4 waiting tasks in {where}? They cannot be brought back [y/N]" in done.stdout
        assert done.stderr.endswith("Stopped; nothing was changed.\n")
        assert done.returncode != 0
    assert (client.queue().ready, client.queue().delayed) == (3, 1)
    done = project.celeriac("-A", "tasks", "purge", answers="y\n")
    assert (done.returncode, done.stdout.endswith("[y/N]: Deleted 4 tasks.\n")) == (0, True)
    done = project.celeriac("-A", "tasks", "purge")
    assert (done.returncode, done.stdout) == (0, f"Nothing waits in {where}.\n")
    assert client.queue("mails").ready == 1
    client.send("add", 1, 2, queue="prints")
    done = project.celeriac("-A", "tasks", "purge", "-f", "-Q", "mails, prints")
    assert (done.returncode, done.stdout) == (0, "Deleted 2 tasks.\n")
    assert client.queue("mails").ready == 0


def test_purge_leaves_what_runs(project: Project, client: Client, gate: Gate) -> None:
    project.with_common_tasks()
    with project.worker("-c", 1):
        running = client.send("hold", gate.port, "runs on")
        arrival = gate.arrival()
        waiting = client.send("add", 1, 2)
        done = project.celeriac("-A", "tasks", "purge", "-f")
        assert done.stdout == "Deleted 1 task.\n"
        arrival.open()
        assert running.get(timeout=30) == "runs on"
        assert waiting.state == "PENDING"
