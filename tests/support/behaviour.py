"""A worker at its work on each store and in each pool, and a client of its store: for what must be the same on all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from support.project import Project
from support.redis_server import RedisServer
from support.worker import WorkerProcess

__all__ = ["PLACES", "STORES", "Behaviour", "behaviour"]

#: Each store, and each pool: what a task does must not depend on where it runs.
PLACES = ["sqlite-prefork", "redis-prefork", "sqlite-threads", "redis-asyncio", "sqlite-solo"]
#: Where only the store matters.
STORES = PLACES[:2]


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
def behaviour(place: str, tasks: str, folder: Path, *queues: str) -> Iterator[Behaviour]:
    """Write `tasks`, which find `app` and `note`, and run a worker for them."""
    store, _, pool = place.partition("-")
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stores = ""
        if store == "redis":
            url = stack.enter_context(RedisServer(folder / "redis")).url()
            stores = f", broker={url!r}, backend={url!r}"
        project = Project(folder)
        project.write("tasks", _HEAD.format(stores=stores, notes=str(folder / "notes")) + tasks)
        worker = stack.enter_context(project.worker("-P", pool, "-c", 2, "-Q", ",".join(("celery", *queues))))
        worker.wait_until_ready()
        yield Behaviour(project, worker)
        assert worker.stop() == 0, worker.log
