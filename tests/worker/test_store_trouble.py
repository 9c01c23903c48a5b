"""Trouble with the store's file under a running worker: a full disk, a lock, a file that goes. It costs time and no task."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable

import pytest

from conformance.peer import Peer
from support.gate import Gate
from support.processes import needs_proc
from support.project import Client, Project
from support.senders import integrity, send_all, send_until_full
from support.small_disk import fill, inside_of, make_room, mounted_at, needs_mounts
from support.waiting import until

pytestmark = needs_proc

_TASKS = """
import os
import socket

from celeriac import Celery

app = Celery("tasks")
app.conf.broker_connection_timeout = 1.0
app.conf.worker_lease = 1.5


def note(word):
    file = os.open(os.environ["RUNS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{word}\\n".encode())
    os.close(file)


@app.task
def produce(port, size):
    note("produce")
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"{os.getpid()} \\n".encode())
        connection.recv(1)
    return "x" * size


@app.task
def small(number, text):
    note(number)
    return number
"""


@needs_mounts
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_full_disk_costs_time_and_no_task(
    project: Project, gate: Gate, figure: Callable[[str], None], pool: str
) -> None:
    project.write("tasks", _TASKS)
    runs, disk = project.folder / "runs", project.folder / "disk"
    url = f"sqlite:///{disk}/celeriac.db"
    start = mounted_at(disk, "4m")
    with (
        project.worker("-c", 2, "-P", pool, before=start, CELERIAC_HOME=str(disk), RUNS=str(runs)) as worker,
        Peer(url, "/", prefix=inside_of(worker.wait_until_ready().pid)) as inside,
    ):
        large = inside.run(send_all, url, "tasks.produce", [(gate.port, 500_000)] * 2)
        arrivals = [gate.arrival(), gate.arrival()]
        before = inside.run(send_all, url, "tasks.small", [(number, "x" * 2000) for number in range(50)])
        inside.run(fill, str(disk))
        after, took_s, words = inside.run(send_until_full, url, "tasks.small", 2000)
        assert "celeriac.db: the disk is full; nothing was written. Make room and try again" in words
        assert took_s < 10
        for arrival in arrivals:
            arrival.open()
        worker.wait_for(
            r"ERROR/\S+\] The broker cannot be used \(.*nothing is lost\): .*the disk is full; nothing was written"
        )
        assert gate.stays_empty(2.0)  # many tries later
        assert len(worker.children()) == (2 if pool == "prefork" else 1)
        assert inside.results.get(large) == {}
        inside.run(make_room, str(disk))
        worker.wait_for(r"WARNING/\S+\] The broker is back; going on")
        sent = [*before, *after]
        wanted = [*large, *sent]
        documents = until(
            lambda: found if len(found := inside.results.get(wanted)) == len(wanted) else {}, "all have ended"
        )
        assert [json.loads(documents[task_id])["result"] for task_id in large] == ["x" * 500_000] * 2
        assert [json.loads(documents[task_id])["result"] for task_id in sent] == list(range(len(sent)))
        assert Counter(runs.read_text().split()) == Counter(
            {"produce": 2, **{str(number): 1 for number in range(len(sent))}}
        )
        assert inside.run(integrity, str(disk / "celeriac.db")) == "ok"
        assert worker.stop() == 0
    log = worker.log
    assert "Traceback" not in log
    assert "Refused" not in log
    # Each of the processes says once that the disk is full, and once that it is not any more.
    assert log.count("The broker cannot be used") == log.count("The broker is back") <= 2
    assert log.count("The lease cannot be renewed") == log.count("The lease is renewed again") <= 1
    figure(f"disk full: publish failed within {took_s:.1f} s; {len(wanted)} tasks, none lost, none run twice")


def test_a_lock_that_is_held_for_longer_than_the_deadline_costs_time_and_no_task(
    project: Project, client: Client, gate: Gate
) -> None:
    project.with_common_tasks(broker_connection_timeout=0.5, worker_lease=1.5)
    with project.worker("-c", 2) as worker:
        results = [client.send("hold", gate.port, f"done {number}") for number in range(2)]
        later = client.send("add", 1, 2)
        arrivals = [gate.arrival(), gate.arrival()]
        with project.locked_store(exclusive=False):
            for arrival in arrivals:
                arrival.open()
            worker.wait_for(
                r"ERROR/\S+\] The broker cannot be used .*: .*has been locked by another program for 0\.5 s"
            )
            worker.wait_for(
                r"ERROR/\S+\] The lease cannot be renewed .*: .*Close whatever holds it \(an open database browser"
            )
            assert gate.stays_empty(1.0)
        assert sorted(result.get(timeout=30) for result in results) == ["done 0", "done 1"]
        assert later.get(timeout=30) == 3
        assert gate.stays_empty(0.1)
        assert worker.stop() == 0
    assert "Traceback" not in worker.log
    assert "Refused" not in worker.log


def test_a_file_that_is_replaced_under_two_workers_is_what_both_go_on_with(
    project: Project, client: Client, gate: Gate
) -> None:
    project.with_common_tasks(worker_lease=1.5)
    with project.worker("-c", 1, "-n", "one") as one, project.worker("-c", 1, "-n", "two") as two:
        workers = (one, two)
        for worker in workers:
            worker.wait_until_ready()
        assert client.run("add", 1, 1) == 2
        old = project.folder / "old"
        old.mkdir()
        for file in project.store.parent.glob("celeriac.db*"):
            file.rename(old / file.name)
        for worker in workers:
            worker.wait_for(r"WARNING/\S+\] .*celeriac\.db was deleted or replaced; going on with the new one")
        until(lambda: sum(state.alive for state in client.app.broker.nodes()) == 2, "both are on the list again")
        pair = [client.send("facts", gate.port) for _ in range(2)]
        arrivals = [gate.arrival(), gate.arrival()]  # at the same time, so each worker has one
        for arrival in arrivals:
            arrival.open()
        for result in pair:
            result.get(timeout=30)
        for worker in workers:
            assert worker.stop() == 0
            assert "Traceback" not in worker.log
    connection = sqlite3.connect(old / "celeriac.db")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_damaged_file_is_told_in_words_and_never_made_anew(project: Project, client: Client) -> None:
    project.with_common_tasks(broker_connection_timeout=0.5, worker_lease=1.5)
    files = [project.store.with_name(f"celeriac.db{side}") for side in ("", "-wal", "-shm")]
    aside = project.folder / "aside"
    aside.mkdir()
    with project.worker("-c", 1) as worker:
        assert client.run("add", 1, 1) == 2
        client.app.broker.close()
        for file in files:
            file.rename(aside / file.name)
        project.store.write_bytes(b"\xff" * 20_000)
        worker.wait_for(r"ERROR/\S+\] The lease cannot be renewed .*: .*celeriac\.db .*damaged.*left alone")
        worker.wait_for(r"ERROR/\S+\] The broker cannot be used .*: .*celeriac\.db .*damaged.*left alone")
        assert project.store.read_bytes() == b"\xff" * 20_000
        for file in files:
            (aside / file.name).rename(file)
        assert client.run("add", 1, 2) == 3
        worker.wait_for(r"WARNING/\S+\] The lease is renewed again")
        assert worker.stop() == 0
    assert "Traceback" not in worker.log


def test_a_folder_that_vanishes_and_cannot_be_made_anew_is_waited_for(project: Project, client: Client) -> None:
    project.with_common_tasks(broker_connection_timeout=0.5, worker_lease=1.5)
    folder = project.store.parent
    with project.worker("-c", 1) as worker:
        assert client.run("add", 1, 1) == 2
        shutil.move(folder, folder.with_name("moved"))
        folder.write_text("a file is in the way")
        worker.wait_for(r"ERROR/\S+\] The lease cannot be renewed .*celeriac\.db cannot be written")
        folder.unlink()
        shutil.move(folder.with_name("moved"), folder)
        worker.wait_for(r"WARNING/\S+\] The lease is renewed again")
        assert client.run("add", 1, 2) == 3
        assert worker.stop() == 0
    assert "Traceback" not in worker.log
