"""The worker, started with the command line that anybody would use, and certainly stopped again."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

from examples.demo.app import HOME, ROOT

__all__ = ["Worker", "WorkerDied"]

ARGUMENTS = ("-A", "examples.demo.tasks", "worker", "-c", "2", "--loglevel=info")
LOG = HOME / "worker.log"
# A worker that was asked to stop first finishes what it has begun.
GRACE_S = 30.0
LOG_TAIL_BYTES = 16 * 1024


class WorkerDied(Exception):
    """The worker ended though nobody had asked it to."""


class Worker:
    """Runs from `with` to the end of the block, however the block ends."""

    def __init__(self, smtp_port: int) -> None:
        self._environment = {**os.environ, "DEMO_SMTP_PORT": str(smtp_port), "PYTHONUNBUFFERED": "1"}

    def __enter__(self) -> Self:
        # Beside the Python that runs this, so that it is the celeriac of this environment and not another one's.
        beside = Path(sys.executable).parent
        script = shutil.which("celeriac", path=str(beside))
        if script is None:
            raise WorkerDied(f"there is no `celeriac` in {beside}: install the project into it (pip install -e .)")
        with LOG.open("wb") as log:
            self._process = subprocess.Popen(
                [script, *ARGUMENTS],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C reaches every process of the terminal's session. The worker gets one of its own, so that it
                # is stopped once, by `stop`, and not told twice, which would mean "at once".
                start_new_session=True,
            )
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
        raise WorkerDied("\n".join([f"{_ended(status)}; the end of {LOG}:", *(f"  {line}" for line in self.tail(15))]))

    def stop(self) -> None:
        """Ask it to stop and wait until it has."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            pass  # killed below; `problems` tells of it
        finally:
            # Reached with a living process when the grace is over or when Ctrl-C was pressed again while waiting.
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    def tail(self, count: int) -> list[str]:
        """The last `count` lines of the worker's log."""
        with LOG.open("rb") as log:
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
