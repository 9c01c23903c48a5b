"""Looking at processes, by /proc; tests that need it are skipped elsewhere."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

__all__ = ["Load", "alive", "children_of", "cpu_seconds", "machine_load", "needs_proc", "pss_bytes", "tree_of"]

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes by /proc")


def children_of(pid: int) -> list[int]:
    """Its child processes, oldest first, without zombies."""
    everyone = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return sorted(one for one in everyone if _stat(one)[1:2] == [str(pid)] and alive(one))


def tree_of(pid: int) -> list[int]:
    """The process and all below it."""
    return [pid, *(member for child in children_of(pid) for member in tree_of(child))]


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    return _stat(pid)[:1] not in ([], ["Z"], ["X"])


def _stat(pid: int) -> list[str]:
    """State, parent and so on: the fields behind the name."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def cpu_seconds(pids: list[int]) -> float:
    """What all threads of these processes have used, to the nanosecond."""
    total = 0
    for pid in pids:
        for schedstat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                total += int(schedstat.read_text().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                pass
    return total / 1e9


def pss_bytes(pids: list[int]) -> int:
    """The memory of these processes; what several share is counted once."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


@dataclass
class Load:
    """How busy others kept the machine: 0 not at all, 1 all processors all the time. Known after the `with`."""

    others: float = 1.0

    @property
    def at_rest(self) -> bool:
        """Whether a measurement of time says something about us."""
        return self.others < 0.15


@contextmanager
def machine_load() -> Iterator[Load]:
    """Measure the load of everyone but this process and the children it waits for."""
    load = Load()
    began, busy, own = time.monotonic(), _busy_s(), _own_s()
    yield load
    if busy is not None:
        used = (_busy_s() or 0.0) - busy - (_own_s() - own)
        load.others = max(0.0, used) / ((time.monotonic() - began) * (os.cpu_count() or 1))


def _busy_s() -> float | None:
    try:
        fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    except OSError:
        return None
    idle = fields[3] + fields[4]
    return (sum(fields[:8]) - idle) / os.sysconf("SC_CLK_TCK")


def _own_s() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
