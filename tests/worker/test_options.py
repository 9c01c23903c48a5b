"""The worker's options, and what it says when it starts."""

from __future__ import annotations

import re
import socket

import celeriac
from support.gate import Gate
from support.project import Client, Project
from support.waiting import until


def test_the_banner_says_who_where_and_how_safely(project: Project) -> None:
    project.with_common_tasks()
    with project.worker("-c", 3, "-Q", "mails,celery", "-n", "one@%h") as worker:
        worker.wait_until_ready()
        banner = worker.log
    assert f" one@{socket.gethostname()}  celeriac {celeriac.__version__}  " in banner
    assert ". app:         tasks\n" in banner
    assert f". broker:      sqlite:///{project.store}\n" in banner
    assert ". results:     the same store\n" in banner
    assert ". concurrency: 3 (prefork)\n" in banner
    assert ". delivery:    at least once: a task whose worker dies runs again, 3 runs at most\n" in banner
    assert "task_acks_late=False" in banner
    assert "[queues]\n  . mails\n  . celery\n" in banner
    assert "  . tasks.add\n" in banner
    assert re.search(rf"INFO/MainProcess\] one@{re.escape(socket.gethostname())} ready\.\n", banner)


def test_the_banner_names_at_most_once(project: Project) -> None:
    project.with_common_tasks(task_acks_late=False)
    with project.worker("-c", 1, level="warning") as worker:
        worker.wait_for(r"delivery:    at most once: .*\(task_acks_late=False\)\n")


def test_concurrency_is_how_many_tasks_run_at_a_time(project: Project, client: Client, gate: Gate) -> None:
    project.with_common_tasks()
    for number in range(4):
        client.send("hold", gate.port, str(number))
    with project.worker("-c", 3) as worker:
        running = [gate.arrival() for _ in range(3)]
        assert len({arrival.pid for arrival in running}) == 3
        assert gate.stays_empty(0.3)
        running[0].open()
        gate.arrival().open()
        for arrival in running:
            arrival.open()
        worker.wait_for("ready")


def test_a_worker_serves_its_own_queues_and_no_others(project: Project, client: Client) -> None:
    project.with_common_tasks()
    other = client.send("add", 1, 1)
    with project.worker("-Q", "mails", "-c", 1) as worker:
        assert client.run("add", 2, 2, queue="mails") == 4
        assert client.run("nap", 5, queue="mails") == 5
        assert client.queue().ready == 1
        assert other.state == "PENDING"
        assert worker.stop() == 0
    with project.worker("-Q", "mails,celery", "-c", 1):
        assert other.get(timeout=30) == 2


def test_the_log_level_decides_what_is_logged(project: Project, client: Client) -> None:
    project.with_common_tasks()
    with project.worker("-c", 1, level="WARNING") as worker:
        assert client.run("add", 20, 1) == 21
        worker.wait_for(r"Adding 20 \+ 1")  # printed by a task: a warning by worker_redirect_stdouts_level
        client.send("fail", "tray 5")
        worker.wait_for("raised unexpected")
        assert worker.stop() == 0
        assert "received" not in worker.log
        assert "succeeded" not in worker.log
        assert "ready." not in worker.log


def test_the_log_can_go_to_a_file(project: Project, client: Client) -> None:
    project.with_common_tasks()
    with project.worker("-c", 1, "-f", "worker.log") as worker:
        assert client.run("add", 20, 2) == 22
        assert worker.stop() == 0
        assert "succeeded" not in worker.log
    assert re.search(r"tasks\.add\[.*\] succeeded in .*s: 22\n", (project.folder / "worker.log").read_text())


def test_what_a_module_prints_when_it_is_imported_is_seen_once(project: Project, client: Client) -> None:
    project.with_common_tasks()
    with (project.folder / "tasks.py").open("a") as module:
        module.write("print('tasks are loaded')\n")
    with project.worker("-c", 3) as worker:
        worker.wait_until_ready()
        assert client.run("add", 1, 2) == 3
        assert worker.stop() == 0
        assert worker.log.count("tasks are loaded") == 1


def test_the_settings_of_the_application_hold_where_the_command_line_is_silent(
    project: Project, client: Client, gate: Gate
) -> None:
    project.with_common_tasks(worker_pool="solo", task_default_queue="mine")
    with project.worker() as worker:
        worker.wait_for(r"concurrency: 1 \(solo\)")
        result = client.send("facts", gate.port, queue="mine")
        arrival = gate.arrival()
        assert arrival.pid == worker.pid
        assert arrival.word == f"{result.id} celery@{socket.gethostname()} False"
        arrival.open()
        result.get(timeout=30)
        assert worker.stop() == 0


def test_workdir_is_where_the_application_is_looked_for(project: Project, client: Client) -> None:
    project.with_common_tasks()
    command = ["--workdir", str(project.folder), "-A", "tasks", "call", "tasks.add", "-a", "[1, 2]"]
    elsewhere = project.folder / "elsewhere"
    elsewhere.mkdir()
    called = project.celeriac(*command, folder=elsewhere)
    assert called.returncode == 0, called.stderr
    with project.worker("-c", 1):
        assert client.app.AsyncResult(called.stdout.strip()).get(timeout=30) == 3


def test_a_worker_shows_in_status_while_it_lives(project: Project, client: Client) -> None:
    project.with_common_tasks()
    with project.worker("-n", "two", "-c", 1) as worker:
        worker.wait_until_ready()
        (state,) = client.app.broker.nodes()
        assert (state.node.name, state.alive) == (f"two@{socket.gethostname()}", True)
        assert worker.stop() == 0
        until(lambda: client.app.broker.nodes() == [], "the worker has taken itself off the list")
