"""The worker, started with the command line that anybody would use, and certainly stopped again."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

__all__ = ["ROOT", "Worker", "WorkerDied"]

ROOT = Path(__file__).parents[2]
# A worker that was asked to stop first finishes what it has begun.
GRACE_S = 30.0
LOG_TAIL_BYTES = 16 * 1024


class WorkerDied(Exception):
    """The worker ended though nobody had asked it to."""


class Worker:
    """Runs from `with` (or `start`) to the end of the block (or `stop`), however the block ends."""

    def __init__(self, app: str, log: Path, *options: str, **environment: str) -> None:
        self.log = log
        self._arguments = ["-A", app, "worker", "-c", "2", "--loglevel=info", *options]
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}

    def start(self) -> None:
        """Start it; it is ready a moment later."""
        # Beside the Python that runs this, so that it is the celeriac of this environment and not another one's.
        beside = Path(sys.executable).parent
        script = shutil.which("celeriac", path=str(beside))
        if script is None:
            raise WorkerDied(f"there is no `celeriac` in {beside}: install the project into it (pip install -e .)")
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [script, *self._arguments],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C reaches every process of the terminal's session. The worker gets one of its own, so that it
                # is stopped once, by `stop`, and not told twice, which would mean "at once".
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        """Raise `WorkerDied`, with the last words of the log, if it no longer runs."""
        status = self._process.poll()
        if status is None:
            return
        raise WorkerDied(
            "\n".join([f"{_ended(status)}; the end of {self.log}:", *(f"  {line}" for line in self.tail(15))])
        )

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """End it and all of its processes on the spot, as a power cut would."""
        if self.running:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def ask_to_stop(self) -> None:
        """It finishes what it has begun, and ends."""
        if self.running:
            self._process.terminate()

    def stop(self) -> None:
        """Ask it to stop and wait until it has."""
        self.ask_to_stop()
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            pass  # killed below; `problems` tells of it
        finally:
            # Reached with a living process when the grace is over or when Ctrl-C was pressed again while waiting.
            self.kill()

    def tail(self, count: int) -> list[str]:
        """The last `count` lines of the worker's log."""
        with self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
            return log.read().decode(errors="replace").splitlines()[-count:]

    def problems(self) -> list[str]:
        """A sentence if it did not end well after `stop`."""
        status = self._process.returncode
        return [f"{_ended(status)} when it was asked to stop"] if status else []


def _ended(status: int) -> str:
    return (
        f"the worker was killed by {signal.Signals(-status).name}" if status < 0 else f"the worker ended with {status}"
    )
