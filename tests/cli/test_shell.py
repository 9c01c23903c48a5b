"""`celeriac shell`, at a real terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.project import Project


class _Terminal:
    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.text = ""

    def wait_for(self, word: str, timeout_s: float = 30.0) -> None:
        deadline = time.monotonic() + timeout_s
        while word not in self.text:
            assert select.select([self._fd], [], [], max(0.0, deadline - time.monotonic()))[0], self.text
            self.text += os.read(self._fd, 4096).decode()

    def type(self, keys: str) -> None:
        self.text = ""
        os.write(self._fd, keys.encode())


@contextmanager
def _shell(project: Project, *options: str) -> Iterator[_Terminal]:
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(project.folder)
        os.execve(
            project.script, ["celeriac", "-A", "tasks", "shell", *options], {**project.environment, "TERM": "dumb"}
        )
    try:
        yield _Terminal(fd)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(fd)


def test_the_application_and_its_tasks_are_there(project: Project) -> None:
    project.with_common_tasks()
    with _shell(project) as terminal:
        terminal.wait_for(">>> ")
        assert "celeriac " in terminal.text
        terminal.type("app is celery, add(3, 4), issubclass(type(add), Task)\n")
        terminal.wait_for("(True, 7, True)")
        terminal.wait_for(">>> ")
        terminal.type("add.delay_m\t")
        terminal.wait_for("add.delay_many(")


def test_without_tasks(project: Project) -> None:
    project.with_common_tasks()
    with _shell(project, "--python", "-T") as terminal:
        terminal.wait_for(">>> ")
        terminal.type("'add' in globals(), 'app' in globals()\n")
        terminal.wait_for("(False, True)")


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--gevent", "celeriac has no gevent support"),
        ("--eventlet", "celeriac has no eventlet support"),
        ("-B", "bpython is not installed: pip install bpython"),
        ("-I", "IPython is not installed: pip install ipython"),
    ],
)
def test_shells_that_are_not_there(option: str, said: str, project: Project) -> None:
    project.with_common_tasks()
    for module in ("bpython", "IPython"):
        project.write(module, "raise ImportError")
    done = project.celeriac("-A", "tasks", "shell", option)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
