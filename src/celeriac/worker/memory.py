"""How much memory this process holds, and a limit to it after which it is replaced."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable

__all__ = ["MemoryLimit", "resident_kib"]

logger = logging.getLogger("celeriac.worker")


def resident_kib() -> int:
    """The resident memory of this process now; where /proc does not tell, the most it ever was."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    except (OSError, ValueError, IndexError):
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most // 1024 if sys.platform == "darwin" else most


class MemoryLimit:
    """Looked at after each run; `exceeded` is called once, with the reason for people."""

    def __init__(
        self, most_kib: int, exceeded: Callable[[str], None], measure: Callable[[], int] = resident_kib
    ) -> None:
        self._most_kib = most_kib
        self._exceeded = exceeded
        self._measure = measure
        self._runs = 0
        self._done = False

    def look(self) -> None:
        """A run has ended."""
        self._runs += 1
        if self._done:
            return
        kib = self._measure()
        if kib <= self._most_kib:
            return
        self._done = True
        if self._runs == 1:
            logger.warning(
                "One task alone took this process to %d KiB, beyond worker_max_memory_per_child=%d: "
                "every such task costs a new process; raise the setting",
                kib,
                self._most_kib,
            )
        self._exceeded(f"it holds {kib} KiB of memory (worker_max_memory_per_child={self._most_kib})")
