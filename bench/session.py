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

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bench.peers.base import Peer

__all__ = ["Driver", "Session", "new_session"]

BENCH = Path(__file__).resolve().parent
TASKS = BENCH / "tasks"
DRIVER_TIMEOUT_S = 400.0


@contextlib.contextmanager
def new_session(peer: Peer) -> Iterator[Session]:
    # Not the system's folder for temporary files, which may be memory: a durable store has to pay for its disk here.
    scratch = PROJECT / ".peers"
    scratch.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=scratch) as name:
        folder = Path(name)
        with peer.store(folder) as variables:
            yield Session(peer, folder, clean_environment(variables))


class Session:
    """Starts the peer's processes on its store."""

    def __init__(self, peer: Peer, folder: Path, environment: Mapping[str, str]) -> None:
        self.peer = peer
        self._folder = folder
        self._environment = environment
        self._drivers: list[subprocess.Popen[str]] = []

    @contextlib.contextmanager
    def worker(self) -> Iterator[int]:
        """A worker that ends with the block; gives its process id. It may not be ready yet."""
        log = self._folder / "worker.log"
        with run_until_left(self.peer.worker_command, log, TASKS, self._environment) as process:
            threading.Thread(target=self._end_drivers_after, args=(process,), daemon=True).start()
            try:
                yield process.pid
            except BenchError as error:
                state = "is running" if process.poll() is None else f"ended with {process.returncode}"
                raise BenchError(f"{error}\nthe worker {state}; its log ends:\n{tail(log)}") from error

    def _end_drivers_after(self, worker: subprocess.Popen[bytes]) -> None:
        """Nobody waits for results of a worker that is gone."""
        worker.wait()
        for driver in self._drivers:
            driver.kill()

    @contextlib.contextmanager
    def driver(self, measure: str, count: int = 0) -> Iterator[Driver]:
        """A running `bench/driver.py`."""
        command = [str(self.peer.python), str(BENCH / "driver.py"), self.peer.tasks, measure, str(count)]
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
                yield Driver(process, f"{self.peer.name}: {measure}", log)
            finally:
                overdue.cancel()
                process.kill()

    def run(self, measure: str, count: int = 0) -> dict[str, Any]:
        """What a driver of one step says."""
        with self.driver(measure, count) as driver:
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
