"""`celeriac worker` as a service: in the background, with a pid file and log files of its own."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.processes import alive, needs_proc, tree_of
from support.project import Client, Project
from support.waiting import until

pytestmark = needs_proc


@contextmanager
def _in_the_background(project: Project, *options: str | int) -> Iterator[int]:
    """Its pid; it is gone after the block."""
    done = project.celeriac("-A", "tasks", "worker", "-D", "-c", 1, "-n", "one", "--pidfile", "%n.pid", *options)
    pid = int((project.folder / "one.pid").read_text())
    everyone = tree_of(pid)
    try:
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("Started one@")
        yield pid
    finally:
        for member in everyone:
            try:
                os.kill(member, signal.SIGKILL)
            except ProcessLookupError:
                pass


def test_a_worker_in_the_background_works_and_stops(project: Project, client: Client) -> None:
    project.with_common_tasks()
    with _in_the_background(project, "-f", "%n%I.log", "-l", "info", "--umask", "077") as pid:
        assert os.getsid(pid) not in (pid, os.getsid(0))  # no terminal, and none can be had
        assert client.run("add", 1, 2) == 3
        assert "one@" in (project.folder / "one.log").read_text()
        assert "tasks.add" in (project.folder / "one-1.log").read_text()
        assert (project.folder / "one-1.log").stat().st_mode & 0o777 == 0o600
        os.kill(pid, signal.SIGTERM)
        until(lambda: not alive(pid), "the worker ends")
        assert not (project.folder / "one.pid").exists()


def test_without_a_log_file_it_is_named_after_the_worker(project: Project) -> None:
    project.with_common_tasks()
    with _in_the_background(project):
        assert "ready" not in (project.folder / "one.log").read_text()  # at level WARNING
        assert "[queues]" in (project.folder / "one.log").read_text()


@pytest.mark.parametrize("more", [["-D"], []])
def test_a_second_worker_of_the_same_pid_file_is_refused(more: list[str], project: Project) -> None:
    project.with_common_tasks()
    with _in_the_background(project) as pid:
        done = project.celeriac("-A", "tasks", "worker", "-n", "one", "--pidfile", "%n.pid", *more)
        assert done.returncode == 1
        assert f"one.pid is running, as process {pid}: stop it first (kill {pid})" in done.stderr
        assert (project.folder / "one.pid").read_text() == f"{pid}\n"


def test_the_pid_file_of_a_dead_worker_is_taken_over(project: Project) -> None:
    project.with_common_tasks()
    path = project.folder / "one.pid"
    path.write_text(f"{os.getpid()}\n")  # alive, but no worker: pids are used again
    with project.worker("-c", 1, "--pidfile", "one.pid") as worker:
        worker.wait_until_ready()
        assert path.read_text() == f"{worker.pid}\n"
        assert worker.stop() == 0
    assert not path.exists()


def test_a_start_that_fails_in_the_background_is_told_at_the_terminal(project: Project) -> None:
    project.write("tasks", "raise ValueError('no such printer')")
    done = project.celeriac("-A", "tasks", "worker", "-D", "--pidfile", "w.pid")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == "Error: importing 'tasks' failed: ValueError: no such printer"
    assert not (project.folder / "w.pid").exists()


@pytest.mark.parametrize(("option", "what"), [("-f", "the log file"), ("--pidfile", "the pid file")])
def test_a_file_that_cannot_be_written_is_told_at_the_terminal(option: str, what: str, project: Project) -> None:
    project.with_common_tasks()
    done = project.celeriac("-A", "tasks", "worker", "-D", option, "nowhere/file")
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {what} ")
    assert done.stderr.endswith("cannot be written: No such file or directory\n")


@pytest.mark.skipif(os.getuid() == 0, reason="root may become anyone")
def test_only_root_may_become_another_user(project: Project) -> None:
    project.with_common_tasks()
    done = project.celeriac("-A", "tasks", "worker", "--uid", 0)
    assert (done.returncode, done.stdout) == (1, "")
    assert "--uid and --gid need to be started as root" in done.stderr


_BECOME = """
import os
from celeriac.cli.service import become
become("nobody", None)
print(os.getresuid(), 0 in os.getgroups() or os.getgid() == 0)
try:
    os.setuid(0)
except PermissionError:
    print("for good")
"""


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_root_becomes_the_user_for_good() -> None:
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", _BECOME], capture_output=True, text=True, check=True, env={"PYTHONPATH": path}, cwd="/"
    )
    nobody = pwd.getpwnam("nobody").pw_uid
    assert done.stdout == f"{(nobody,) * 3} False\nfor good\n"
