"""A store that cannot be used: every command names the file and the remedy, and changes nothing."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from support.project import Project

_COMMANDS = {
    "call": ["call", "tasks.add", "-a", "[1, 2]"],
    "status": ["status"],
    "worker": ["worker", "-c", "1"],
    "solo": ["worker", "-P", "solo"],
    "result": ["result", "some-id"],
    "purge": ["purge", "-f"],
    "dead": ["dead", "list"],
}
_SOME = ["call", "status", "worker"]


def _error(project: Project, command: str, **environment: str) -> str:
    done = project.celeriac("-A", "tasks", *_COMMANDS[command], **environment)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    return line


@pytest.mark.parametrize("command", _COMMANDS)
def test_a_file_that_is_no_database(command: str, project: Project) -> None:
    project.with_common_tasks()
    project.store.parent.mkdir()
    project.store.write_text("Dear diary, today I learnt what a task queue is. " * 100)
    before = project.store.read_bytes()
    error = _error(project, command)
    assert str(project.store) in error
    assert "is not a celeriac store, or is damaged" in error
    assert "Name another file in broker_url, or move this one away" in error
    assert project.store.read_bytes() == before


@pytest.mark.parametrize("command", _SOME)
def test_a_database_of_something_else(command: str, project: Project) -> None:
    project.with_common_tasks()
    project.store.parent.mkdir()
    with sqlite3.connect(project.store) as connection:
        connection.execute("CREATE TABLE diary (day TEXT, text TEXT)")
    connection.close()
    before = project.store.read_bytes()
    error = _error(project, command)
    assert f"{project.store} is a database of something else, not a celeriac store; it was left alone" in error
    assert project.store.read_bytes() == before


def test_a_store_of_a_newer_version(project: Project) -> None:
    project.with_common_tasks()
    assert project.celeriac("-A", "tasks", "status").returncode == 0
    with sqlite3.connect(project.store) as connection:
        connection.execute("PRAGMA user_version=99")
        connection.execute("UPDATE counters SET value = 98 WHERE name = 'compatible_from'")
    connection.close()
    error = _error(project, "status")
    assert "was made or upgraded by a newer celeriac (schema 99, for programs that know 98 or more" in error
    assert "upgrade celeriac here too" in error


@pytest.mark.parametrize("command", _SOME)
def test_a_folder_that_cannot_be_written(command: str, project: Project) -> None:
    project.with_common_tasks()
    # A place where nobody may make a file, the system's administrator included.
    error = _error(project, command, CELERIAC_HOME="/proc/self")
    assert "/proc/self/celeriac.db cannot be written" in error
    assert "Set CELERIAC_HOME to a folder on a local disk that you may write to" in error


@pytest.mark.parametrize("command", _SOME)
def test_a_store_that_may_only_be_read(command: str, project: Project) -> None:
    project.with_common_tasks()
    assert project.celeriac("-A", "tasks", "status").returncode == 0
    for path in project.store.parent.glob("celeriac.db*"):
        if path.is_file():
            path.chmod(0o444)
    project.store.parent.chmod(0o555)
    try:
        done = _with_permissions(project, _COMMANDS[command])
    finally:
        project.store.parent.chmod(0o755)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    (error,) = done.stderr.splitlines()
    assert f"{project.store} cannot be written: " in error
    assert "Set CELERIAC_HOME to a folder on a local disk that you may write to" in error


def _with_permissions(project: Project, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command; if these tests run as root, without root's right to write where permissions say no."""
    wrapper = ["setpriv", "--bounding-set=-dac_override"] if os.getuid() == 0 else []
    if wrapper and shutil.which("setpriv") is None:
        pytest.skip("root may write everywhere, and there is no setpriv to change that")
    return subprocess.run(
        [*wrapper, project.script, "-A", "tasks", *command],
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", ["call", "status", "purge"])
def test_a_store_that_a_stranger_has_locked(command: str, project: Project) -> None:
    project.with_common_tasks(broker_connection_timeout=0.5)
    assert project.celeriac("-A", "tasks", "status").returncode == 0
    with project.locked_store():
        error = _error(project, command)
    assert f"{project.store} has been locked by another program for 0.5 s; nothing was written" in error
    assert "Close whatever holds it (an open database browser, a backup)" in error
    assert project.celeriac("-A", "tasks", *_COMMANDS[command]).returncode == 0


def test_a_worker_outlasts_a_lock_and_works_on(project: Project) -> None:
    project.with_common_tasks(broker_connection_timeout=0.5)
    with project.client() as client, project.worker("-c", 1) as worker:
        assert client.run("add", 1, 1) == 2
        with project.locked_store(exclusive=False):
            worker.wait_for(r"ERROR/\S+\] The broker cannot be used .*: .* has been locked by another program")
        worker.wait_for(r"WARNING/\S+\] The broker is back; going on")
        assert client.run("add", 1, 2) == 3
        assert worker.log.count("The broker cannot be used") == 1  # said once, not at every try
        assert "Traceback" not in worker.log


@pytest.mark.parametrize("command", ["call", "status"])
def test_a_network_file_system_is_refused(command: str, project: Project) -> None:
    project.with_common_tasks()
    # As if the project's folder were mounted from a server.
    mount = f"36 35 98:0 / {project.folder} rw,noatime - nfs4 server:/export rw"
    with (project.folder / "tasks.py").open("a") as module:
        module.write(f"\nfrom celeriac.engines.sqlite import database\ndatabase._mount_table = lambda: {mount!r}\n")
    error = _error(project, command)
    assert f"{project.store} lies on a network file system (nfs4)" in error
    assert "Set CELERIAC_HOME to a folder on a local disk" in error
    assert not project.store.exists()


def test_a_disk_that_reports_an_error(project: Project) -> None:
    """As on a full or broken disk: the file cannot grow."""
    project.with_common_tasks()
    assert project.celeriac("-A", "tasks", "status").returncode == 0
    done = project.python(
        f"""
        import resource
        from tasks import app, hold
        from celeriac.exceptions import OperationalError
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, {resource.RLIM_INFINITY}))
        try:
            hold.delay(1, "x" * 2_000_000)
        except OperationalError as error:
            print(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, ({resource.RLIM_INFINITY}, {resource.RLIM_INFINITY}))
        hold.delay(1, "y")
        """
        if sys.platform == "linux"
        else "print('nothing was written')"
    )
    assert str(project.store) in done.stdout
    assert "nothing was written" in done.stdout
    with project.client() as client:
        assert client.queue().ready == 1


def test_celeriac_home_is_where_the_store_is(project: Project, tmp_path: Path) -> None:
    project.with_common_tasks()
    home = tmp_path / "else" / "where"
    assert f"sqlite:///{home}/celeriac.db" in project.celeriac("-A", "tasks", "status", CELERIAC_HOME=str(home)).stdout
    assert (home / "celeriac.db").exists()
    assert not project.store.exists()
    assert oct((home / "celeriac.db").stat().st_mode & 0o777) == "0o600"
