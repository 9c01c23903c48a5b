"""A real worker, started by the real command line."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from support.processes import children_of
from support.waiting import PATIENCE_S, until

__all__ = ["WorkerProcess"]


_MOST_SHOWN = 20_000


class WorkerProcess:
    """`with WorkerProcess(...) as worker:` the worker runs in a process group of its own, which ends with the block.

    Everything it writes is collected in `log`, and printed when the block ends by an error.
    """

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self._command = command
        self._folder = folder
        self._environment = environment
        self._text = ""
        self._grown = threading.Condition()
        self._ended = False

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.pid = self._process.pid
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._collect, args=(self._process.stdout,), daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._reader.join(PATIENCE_S)
        if error is not None:
            *_, last = self.log[-_MOST_SHOWN:].partition("\n") if len(self.log) > _MOST_SHOWN else [self.log]
            print(f"----- {' '.join(self._command)}\n{last}-----")

    def _collect(self, stream: IO[bytes]) -> None:
        with stream:
            while data := os.read(stream.fileno(), 65536):
                with self._grown:
                    self._text += data.decode("utf-8", "replace")
                    self._grown.notify_all()
        with self._grown:
            self._ended = True
            self._grown.notify_all()

    # ── the log ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def log(self) -> str:
        with self._grown:
            return self._text

    def wait_for(self, pattern: str, after: int = 0, timeout_s: float = PATIENCE_S) -> re.Match[str]:
        """The first match of the pattern in the log, from position `after` on."""
        expression = re.compile(pattern, re.MULTILINE)
        deadline = time.monotonic() + timeout_s
        with self._grown:
            while (match := expression.search(self._text, after)) is None:
                left = deadline - time.monotonic()
                assert not self._ended, f"the worker ended and its log has no {pattern!r}:\n{self._text}"
                assert left > 0, f"no {pattern!r} in the log within {timeout_s:g} s:\n{self._text}"
                self._grown.wait(left)
        return match

    def wait_until_ready(self) -> WorkerProcess:
        self.wait_for(r"ready\.$")
        return self

    # ── its processes ────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def template_pid(self) -> int:
        (template,) = until(lambda: children_of(self.pid), "the worker has a template process")
        return template

    def children(self) -> list[int]:
        """The processes that run tasks now."""
        return children_of(self.template_pid)

    def child_pids(self, count: int) -> list[int]:
        """The same, as soon as there are so many."""

        def look() -> list[int]:
            children = self.children()
            return children if len(children) == count else []

        return until(look, f"the worker has {count} children")

    # ── its end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def tell(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal to the worker's main process alone."""
        self._process.send_signal(number)

    def tell_group(self, number: signal.Signals) -> None:
        """Send a signal to all of its processes, as a terminal does at Ctrl-C."""
        os.killpg(self.pid, number)

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = PATIENCE_S) -> int:
        """Ask it to stop and wait; its exit status."""
        self.tell(number)
        return self.wait(timeout_s)

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Its exit status, when it has ended and everything it wrote is in `log`."""
        try:
            status = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the worker did not end within {timeout_s:g} s:\n{self.log}") from None
        self._reader.join(1.0)  # a task's own subprocess may hold the pipe open
        return status

    def close_log(self) -> None:
        """Nobody reads what it writes any more: its writes fail."""
        assert self._process.stdout is not None
        os.dup2(os.open(os.devnull, os.O_RDONLY), self._process.stdout.fileno())

    def kill(self) -> None:
        """kill -9 of the whole group. Idempotent."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        self._process.wait(PATIENCE_S)
