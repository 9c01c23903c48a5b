"""One peer with an empty store for one measurement: its worker and its drivers."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.peers.base import PROJECT
from bench.processes import BenchError, clean_environment, run_until_left, tail
from bench.tallies import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bench.peers.base import Peer, Worker

__all__ = ["Driver", "Session", "new_session"]

BENCH = Path(__file__).resolve().parent
TASKS = BENCH / "tasks"
DRIVER_TIMEOUT_S = 400.0


@contextlib.contextmanager
def new_session(peer: Peer, measure: str) -> Iterator[Session]:
    # Not the system's folder for temporary files, which may be memory: a durable store has to pay for its disk here.
    scratch = PROJECT / ".peers"
    scratch.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=scratch) as name:
        folder = Path(name)
        with peer.store(folder) as variables:
            tallies = folder / "tallies"
            tallies.mkdir()
            yield Session(
                peer, folder, clean_environment({**variables, "BENCH_TALLY": str(tallies), "BENCH_MEASURE": measure})
            )


class Session:
    """Starts the peer's processes on its store."""

    def __init__(self, peer: Peer, folder: Path, environment: Mapping[str, str]) -> None:
        self.peer = peer
        self._folder = folder
        self._environment = environment
        self._drivers: list[subprocess.Popen[str]] = []

    @property
    def redis_url(self) -> str:
        """The server of this session; raises `KeyError` where there is none."""
        return self._environment["BENCH_REDIS"]

    @property
    def redis_pids(self) -> list[int]:
        """The server's process, where there is one."""
        pid = self._environment.get("BENCH_REDIS_PID")
        return [] if pid is None else [int(pid)]

    def tally(self) -> Tally:
        """What the tasks that run in this session say of themselves."""
        return Tally(self._folder / "tallies")

    @contextlib.contextmanager
    def worker(self, worker: Worker | None = None, peer: Peer | None = None) -> Iterator[list[int]]:
        """A worker that ends with the block; gives its process ids. It may not be ready yet."""
        peer, log = peer or self.peer, self._folder / "worker.log"
        worker = worker or peer.worker
        command, environment = peer.command(worker), {**self._environment, **worker.variables}
        with contextlib.ExitStack() as stack:
            processes = [
                stack.enter_context(run_until_left(command, log, TASKS, environment)) for _ in range(worker.copies)
            ]
            threading.Thread(target=self._end_drivers_after, args=(processes[0],), daemon=True).start()
            try:
                yield [process.pid for process in processes]
            except BenchError as error:
                codes = [process.poll() for process in processes]
                state = "is running" if None in codes else f"ended with {codes}"
                raise BenchError(f"{error}\nthe worker {state}; its log ends:\n{tail(log)}") from error

    def _end_drivers_after(self, worker: subprocess.Popen[bytes]) -> None:
        """Nobody waits for results of a worker that is gone."""
        worker.wait()
        for driver in self._drivers:
            driver.kill()

    @contextlib.contextmanager
    def driver(self, step: str, *arguments: object) -> Iterator[Driver]:
        """A running `bench/driver.py`."""
        command = [str(self.peer.python), str(BENCH / "driver.py"), self.peer.tasks, step, *map(str, arguments)]
        log = self._folder / "driver.log"
        with log.open("ab") as errors:
            process = subprocess.Popen(
                command, cwd=TASKS, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=errors, text=True,
            )  # fmt: skip
        # Ending the driver ends its output, so nobody reads from it for ever.
        overdue = threading.Timer(DRIVER_TIMEOUT_S, process.kill)
        overdue.start()
        self._drivers.append(process)
        with process:
            try:
                yield Driver(process, f"{self.peer.name}: {step}", log)
            finally:
                overdue.cancel()
                process.kill()

    def run(self, step: str, *arguments: object, tell: object = None) -> dict[str, Any]:
        """What a driver of one step says, when it has been told what it waits for."""
        with self.driver(step, *arguments) as driver:
            if tell is not None:
                driver.tell(tell)
            return driver.hear()

    def python(self, code: str) -> None:
        """Run code by the peer's Python where its tasks are."""
        command = [str(self.peer.python), "-c", code]
        try:
            subprocess.run(
                command, cwd=TASKS, env=self._environment, capture_output=True, text=True, timeout=60, check=True
            )
        except subprocess.SubprocessError as error:
            said = getattr(error, "stderr", None) or ""
            raise BenchError(f"{self.peer.name}: {error}\n{said}") from error


class Driver:
    """The two ends of a running driver: objects, one a line."""

    def __init__(self, process: subprocess.Popen[str], what: str, log: Path) -> None:
        self._process = process
        self._what = what
        self._log = log

    def tell(self, value: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(value) + "\n")
        self._process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError(f"{self._what} gave no figure; it said:\n{tail(self._log)}")
        heard: dict[str, Any] = json.loads(line)
        return heard
