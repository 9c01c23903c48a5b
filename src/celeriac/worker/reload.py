"""Development: a worker that starts anew when a Python file of the project changes.

The worker is a child process; what it runs gets the normal warm stop. Needs watchfiles.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from types import FrameType

import msgspec

from celeriac.exceptions import ConfigError
from celeriac.worker.processes import die_with_parent, exit_text, stop_signals
from celeriac.worker.starting import say

__all__ = ["run_with_reload"]


class _Changed(msgspec.Struct, frozen=True):
    files: tuple[str, ...]


class _Ended(msgspec.Struct, frozen=True):
    process: subprocess.Popen[bytes]


class _Stop:
    """A signal asked for the end."""


def run_with_reload(first: list[str], later: list[str], folder: str) -> int:
    """Run `first`, and `later` after each change of a Python file below the folder, until a signal.

    A worker that ends by itself (a mistake in the file) waits for the next change. Returns the exit status.
    """
    try:
        import watchfiles
    except ImportError:
        raise ConfigError("--reload needs watchfiles: pip install 'celeriac[reload]'") from None
    news: queue.SimpleQueue[_Changed | _Ended | _Stop] = queue.SimpleQueue()
    done = threading.Event()
    watching = threading.Event()

    def watch() -> None:
        # With a time-out it also tells, by an empty set, that it looks already.
        changes = watchfiles.watch(
            folder,
            watch_filter=watchfiles.PythonFilter(),
            debounce=400,
            rust_timeout=200,
            yield_on_timeout=True,
            stop_event=done,
            raise_interrupt=False,
        )
        for change in changes:
            watching.set()
            if change:
                news.put(_Changed(tuple(sorted({path for _, path in change}))))

    def stop(_number: int, _frame: FrameType | None) -> None:
        news.put(_Stop())

    for number in stop_signals():
        signal.signal(number, stop)
    watcher = threading.Thread(target=watch, name="celeriac-reload", daemon=True)
    watcher.start()
    watching.wait(5.0)
    try:
        return _Reloader(first, later, folder, news).run()
    finally:
        done.set()
        watcher.join(2.0)


class _Reloader:
    def __init__(
        self, first: list[str], later: list[str], folder: str, news: queue.SimpleQueue[_Changed | _Ended | _Stop]
    ) -> None:
        self._first = first
        self._later = later
        self._folder = os.path.abspath(folder)
        self._news = news

    def run(self) -> int:
        worker: subprocess.Popen[bytes] | None = self._start(self._first)
        again = False
        while True:
            event = self._news.get()
            if isinstance(event, _Stop):
                return _stop_at_once(worker)
            if isinstance(event, _Changed):
                if not again:
                    say(f"celeriac: {self._names(event.files)} changed; starting anew")
                if worker is None:
                    worker = self._start(self._later)
                elif not again:
                    again = True
                    worker.send_signal(signal.SIGTERM)
            elif again:
                again = False
                worker = self._start(self._later)
            else:
                say(f"celeriac: the worker ended with {exit_text(event.process.returncode)}; waiting for a change")
                worker = None

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        # In a group of its own: Ctrl-C reaches us alone, and we decide what it means.
        through_us = [sys.executable, "-m", "celeriac.worker.reload", str(os.getpid()), *command]
        worker = subprocess.Popen(through_us, process_group=0)

        def wait() -> None:
            worker.wait()
            self._news.put(_Ended(worker))

        threading.Thread(target=wait, name="celeriac-reload-wait", daemon=True).start()
        return worker

    def _names(self, files: Iterable[str]) -> str:
        return ", ".join(os.path.relpath(file, self._folder) for file in files)


def _stop_at_once(worker: subprocess.Popen[bytes] | None) -> int:
    """Two signals, so that it does not wait for running tasks: they go back to their queue."""
    if worker is not None:
        for number in (signal.SIGTERM, signal.SIGINT):
            worker.send_signal(number)
        worker.wait()
    return 0


if __name__ == "__main__":
    # Between the two: what is asked of the kernel here holds for the worker too.
    die_with_parent(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
