"""A place to measure in: an empty store, an application on it, and workers."""

from __future__ import annotations

import collections
import contextlib
import itertools
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.growth.tasks import application
from bench.peers.base import PROJECT
from bench.peers.redis_server import private_redis
from bench.processes import BenchError, clean_environment, run_until_left, tail, tree

if TYPE_CHECKING:
    from celeriac import AsyncResult, Celery, Task

__all__ = ["STORES", "Place", "Worker", "new_place"]

#: The titles of the stores, as series of a plot.
STORES = {"redis": "Redis", "sqlite": "SQLite"}
READY_TIMEOUT_S = 30.0
#: Handles and messages that exist at the same time while a store is filled.
FILLED_TOGETHER = 10_000


@contextlib.contextmanager
def new_place(store: str) -> Iterator[Place]:
    """An empty Redis or SQLite store, gone with the block."""
    # Not the system's folder for temporary files, which may be memory: a durable store has to pay for its disk here.
    scratch = PROJECT / ".peers"
    scratch.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="growth-", dir=scratch.resolve()) as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        server_pids: tuple[int, ...] = ()
        if store == "redis":
            url, pid = stack.enter_context(private_redis(folder))
            server_pids = (pid,)
        else:
            url = f"sqlite:///{folder / 'store' / 'growth.db'}"
        app = application(url)
        stack.callback(app.close)
        yield Place(app, url, folder, server_pids)


@dataclass(frozen=True)
class Worker:
    """A running worker."""

    pid: int
    pids: tuple[int, ...]
    """All its processes."""


class Place:
    def __init__(self, app: Celery, url: str, folder: Path, server_pids: tuple[int, ...]) -> None:
        self.app = app
        self.url = url
        self.folder = folder
        #: The store's own process, if it has one.
        self.server_pids = server_pids

    @contextlib.contextmanager
    def worker(self, *, children: int = 2, queues: Sequence[str] = ()) -> Iterator[Worker]:
        """A worker that is ready and warm, and ends with the block."""
        log = self.folder / "worker.log"
        command = [str(Path(sys.executable).parent / "celeriac"), "-A", "bench.growth.tasks", "worker"]
        command += ["-c", str(children), "--loglevel=warning"]
        command += ["-Q", ",".join(queues)] if queues else []
        environment = clean_environment({"GROWTH_STORE": self.url})
        with run_until_left(command, log, PROJECT, environment) as process:
            try:
                self._warm_up(queues)
            except Exception as error:
                raise BenchError(f"{error}\nthe worker's log ends:\n{tail(log)}") from error
            yield Worker(process.pid, tuple(tree([process.pid])))

    def _warm_up(self, queues: Sequence[str]) -> None:
        queue = queues[0] if queues else self.app.conf.task_default_queue
        sent = self.task("nothing").delay_many([(number,) for number in range(2000)], queue=queue)
        for handle in sent[:: len(sent) // 10]:
            handle.get(timeout=READY_TIMEOUT_S)
        sent[-1].get(timeout=READY_TIMEOUT_S)
        time.sleep(0.3)

    def task(self, name: str) -> Task[..., Any]:
        return self.app.tasks[f"bench.growth.tasks.{name}"]

    def fill(
        self, task: str, calls: Iterable[tuple[Any, ...]], together: int = FILLED_TOGETHER, **options: Any
    ) -> Iterator[AsyncResult[Any]]:
        """Send calls, so many at once; gives their handles. Nothing is sent before they are asked for."""
        waiting = iter(calls)
        while chunk := list(itertools.islice(waiting, together)):
            yield from self.task(task).delay_many(chunk, **options)

    def send(self, task: str, count: int, **options: Any) -> AsyncResult[Any]:
        """Send numbered calls, of which none but the last is asked for."""
        (last,) = collections.deque(self.fill(task, zip(range(count)), **options), maxlen=1)
        return last

    @contextlib.contextmanager
    def paused(self, *queues: str) -> Iterator[None]:
        """Nothing is claimed from these queues within the block."""
        for queue in queues:
            self.app.broker.pause(queue)
        yield
        for queue in queues:
            self.app.broker.resume(queue)

    def redis_info(self, section: str) -> dict[str, str]:
        """What Redis says of itself."""
        text: bytes = self.app.broker.client.call("INFO", section)  # type: ignore[attr-defined]
        return dict(line.split(":", 1) for line in text.decode().splitlines() if ":" in line)
