"""`celeriac worker --reload`: development without restarts by hand."""

from __future__ import annotations

import importlib.util
import signal

import pytest

from support.gate import Gate
from support.processes import alive, needs_proc, tree_of
from support.project import Client, Project
from support.waiting import until

needs_watchfiles = pytest.mark.skipif(importlib.util.find_spec("watchfiles") is None, reason="needs watchfiles")
_TASKS = """
from celeriac import Celery
app = Celery("tasks")
@app.task
def version():
    return {}
"""


@needs_watchfiles
def test_an_edited_file_is_the_new_code(project: Project, client: Client) -> None:
    project.write("tasks", _TASKS.format(1))
    with project.worker("--reload", "-c", 1) as worker:
        worker.wait_until_ready()
        assert client.run("version") == 1
        before = len(worker.log)
        project.write("tasks", _TASKS.format(2))
        worker.wait_for(r"^celeriac: tasks\.py changed; starting anew$", after=before)
        worker.wait_for(r"ready\.$", after=before)
        assert client.run("version") == 2
        before = len(worker.log)
        project.write("tasks", "def (")
        worker.wait_for(r"^celeriac: the worker ended with exit status 1; waiting for a change$", after=before)
        project.write("tasks", _TASKS.format(3))
        worker.wait_for(r"ready\.$", after=before)
        assert client.run("version") == 3
        assert worker.stop(signal.SIGINT) == 0
    assert worker.log.count("[queues]") == 1  # the banner is shown once


@needs_watchfiles
def test_what_runs_is_finished_before_the_new_start(project: Project, client: Client, gate: Gate) -> None:
    project.with_common_tasks()
    with project.worker("--reload", "-c", 1) as worker:
        worker.wait_until_ready()
        running = client.send("hold", gate.port, "done")
        arrival = gate.arrival()
        before = len(worker.log)
        project.write("other", "x = 1")
        worker.wait_for(r"^celeriac: stopping", after=before)
        arrival.open()
        assert running.get(timeout=30) == "done"
        worker.wait_for(r"ready\.$", after=before)


@needs_watchfiles
def test_ctrl_c_does_not_wait_for_what_runs(project: Project, client: Client, gate: Gate) -> None:
    project.with_common_tasks()
    with project.worker("--reload", "-c", 1) as worker:
        worker.wait_until_ready()
        client.send("hold", gate.port)
        gate.arrival()
        worker.tell_group(signal.SIGINT)
        assert worker.wait(timeout_s=15.0) == 0  # shorter than the grace period
    assert client.queue().ready == 1


@needs_watchfiles
@needs_proc
def test_the_worker_dies_with_its_reloader(project: Project) -> None:
    project.with_common_tasks()
    with project.worker("--reload", "-c", 1) as worker:
        worker.wait_until_ready()
        _, *workers = tree_of(worker.pid)
        assert workers
        worker.tell(signal.SIGKILL)
        until(lambda: not any(map(alive, workers)), "all of the worker's processes are gone")


def test_without_watchfiles_it_says_what_to_install(project: Project) -> None:
    project.with_common_tasks().write("watchfiles", "raise ImportError")
    done = project.celeriac("-A", "tasks", "worker", "--reload", PYTHONPATH=str(project.folder))
    assert (done.returncode, done.stderr) == (
        1,
        "Error: --reload needs watchfiles: pip install 'celeriac[reload]'\n",
    )
