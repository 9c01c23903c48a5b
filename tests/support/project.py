"""A user's project in a folder of its own, the command line run in it, and a client of its store."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from celeriac import AsyncResult, Celery, Task
from celeriac.engines.base import QueueState
from support.worker import WorkerProcess

__all__ = ["Client", "Project"]

_SCRIPT = str(Path(sys.executable).with_name("celeriac"))


class Project:
    """Modules in a folder. Whatever is started here sees nothing of the tests' own environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script = _SCRIPT
        self.store = folder / ".celeriac" / "celeriac.db"
        home = folder / ".home"
        home.mkdir(parents=True, exist_ok=True)
        self.environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "LANG": "C.UTF-8",
            # Or an edited module of the same second and size would be taken for the old one.
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def write(self, name: str, text: str) -> Project:
        """Write a module (`tasks`) or a file of a package (`proj/celery`)."""
        path = self.folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        return self

    def with_common_tasks(self, **settings: Any) -> Project:
        """`tasks` with the tasks of common_tasks.py and these settings."""
        text = Path(__file__).with_name("common_tasks.py").read_text(encoding="utf-8")
        lines = "".join(f"app.conf.{name} = {value!r}\n" for name, value in settings.items())
        return self.write("tasks", text + lines)

    def celeriac(
        self, *arguments: str | int, folder: Path | None = None, answers: str = "", timeout_s: float = 30.0, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return self._run([_SCRIPT, *map(str, arguments)], folder, answers, timeout_s, more)

    def python(
        self, text: str, folder: Path | None = None, timeout_s: float = 60.0, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run Python as a user's program in another process, which finds the project's modules."""
        done = self.program(text, folder, timeout_s, **more)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done

    def program(
        self, text: str, folder: Path | None = None, timeout_s: float = 60.0, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """The same, however it ends."""
        more.setdefault("PYTHONPATH", str(self.folder))
        return self._run([sys.executable, "-c", textwrap.dedent(text)], folder, "", timeout_s, more)

    def _run(
        self, command: list[str], folder: Path | None, answers: str, timeout_s: float, more: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=folder or self.folder,
            env={**self.environment, **more},
            input=answers,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def worker(
        self,
        *options: str | int,
        app: str = "tasks",
        level: str = "info",
        folder: Path | None = None,
        before: Sequence[str] = (),
        **more: str,
    ) -> WorkerProcess:
        """A worker, to be used in a `with`. `before` comes before the command; `more` is environment."""
        command = [*before, _SCRIPT, "-A", app, "worker", "-l", level, *map(str, options)]
        return WorkerProcess(command, folder or self.folder, {**self.environment, **more})

    def client(self) -> Client:
        """A client of the project's store, to be used in a `with`."""
        return Client(self.store)

    @contextmanager
    def locked_store(self, *, exclusive: bool = True) -> Iterator[None]:
        """A stranger (a database browser, a backup) holds the store's file, for itself or against writers."""
        connection = sqlite3.connect(self.store, isolation_level=None, timeout=30)
        try:
            if exclusive:
                connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
            yield
        finally:
            connection.close()

    def remove_store(self) -> None:
        """Delete the store's folder with all that is in it."""
        shutil.rmtree(self.store.parent)


class Client:
    """Sends tasks by name and looks into the store, from the test's process."""

    def __init__(self, store: Path) -> None:
        self.app = Celery("client", broker=f"sqlite:///{store}")

    def send(self, task: str, *args: Any, **options: Any) -> AsyncResult[Any]:
        """Call `tasks.<task>` with these arguments; `options` are those of apply_async."""
        return self.task(task).apply_async(args, **options)

    def task(self, task: str) -> Task[..., Any]:
        """Stands for `tasks.<task>`, whatever its arguments are."""
        name = task if "." in task else f"tasks.{task}"
        if name not in self.app.tasks:
            self.app.task(name=name)(_any_arguments)
        return self.app.tasks[name]

    def run(self, task: str, *args: Any, timeout_s: float = 30.0, **options: Any) -> Any:
        """Send it and wait for its value."""
        return self.send(task, *args, **options).get(timeout=timeout_s)

    def queue(self, name: str = "celery") -> QueueState:
        """What lies in a queue now."""
        states = {state.name: state for state in self.app.broker.queues()}
        return states.get(name, QueueState(name, 0, 0, 0, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.app.close()


def _any_arguments(*args: Any, **kwargs: Any) -> None:
    """Stands for a task that lives in the project."""
