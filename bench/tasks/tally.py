"""How many tasks each process has begun, in a small shared file: the same clock for every peer, outside of its store.

Plain Python without imports from the rest of the bench, since the peers' environments have only the peers. `count()` costs a
fraction of a microsecond, so it is in every measured task; where no BENCH_TALLY names a folder, it does nothing.
"""

from __future__ import annotations

import itertools
import mmap
import os
import time

_FOLDER = os.environ.get("BENCH_TALLY")


class _Tally:
    """Of this process: three doubles: the number of tasks begun, and when (monotonic) the last and the first was."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)  # threads of one process each get another number
        self._cells: memoryview[float] | None = None

    def count(self) -> None:
        if self._cells is None:
            if _FOLDER is None:
                return
            fd = os.open(os.path.join(_FOLDER, str(os.getpid())), os.O_RDWR | os.O_CREAT)
            os.ftruncate(fd, 24)
            self._cells = cells = memoryview(mmap.mmap(fd, 24)).cast("d")
            os.close(fd)
            cells[2] = time.monotonic()
        self._cells[1] = time.monotonic()
        self._cells[0] = next(self._numbers)


_tally = _Tally()


def _begin_anew() -> None:
    global _tally
    _tally = _Tally()


os.register_at_fork(after_in_child=_begin_anew)


def count() -> None:
    """A task begins."""
    _tally.count()


def work() -> None:
    """What an everyday task does: wait a millisecond for somebody else, then compute for a fifth of one."""
    time.sleep(0.001)
    burn()


def burn() -> None:
    """Compute for 0.2 ms of this thread's own time."""
    end = time.thread_time() + 0.0002
    while time.thread_time() < end:
        pass
