"""A worker at its work on a store of each kind, and a client of the same store: for what must be the same on all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from support.project import Project
from support.redis_server import RedisServer
from support.worker import WorkerProcess

__all__ = ["STORES", "Behaviour", "behaviour"]

STORES = ["sqlite", "redis"]


class Behaviour:
    """The project that the worker runs; `ask` runs a user's program beside it."""

    def __init__(self, project: Project, worker: WorkerProcess) -> None:
        self.worker = worker
        self._project = project
        self._notes = project.folder / "notes"

    def ask(self, program: str) -> list[str]:
        """The lines that a program prints; it finds the project's module `tasks`."""
        return self._project.python(program).stdout.splitlines()

    def notes(self, word: str) -> list[str]:
        """What tasks have noted after this word (`note` in the project's tasks), in order."""
        lines = self._notes.read_text().splitlines() if self._notes.exists() else []
        return [line.partition(" ")[2] for line in lines if line.split()[0] == word]


_HEAD = """
import os

from celeriac import Celery, Task, current_task, signals

app = Celery("tasks"{stores})


def note(word, *facts):
    file = os.open({notes!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, " ".join(map(str, (word, *facts))).encode() + b"\\n")
    os.close(file)

"""


@contextmanager
def behaviour(store: str, tasks: str, folder: Path, *queues: str) -> Iterator[Behaviour]:
    """Write `tasks`, which find `app` and `note`, and run a worker for them."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stores = ""
        if store == "redis":
            url = stack.enter_context(RedisServer(folder / "redis")).url()
            stores = f", broker={url!r}, backend={url!r}"
        project = Project(folder)
        project.write("tasks", _HEAD.format(stores=stores, notes=str(folder / "notes")) + tasks)
        worker = stack.enter_context(project.worker("-c", 2, "-Q", ",".join(("celery", *queues))))
        worker.wait_until_ready()
        yield Behaviour(project, worker)
        assert worker.stop() == 0, worker.log
