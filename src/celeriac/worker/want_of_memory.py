"""Whether the kernel killed a child for want of memory, as the counters of the worker's own cgroup tell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

__all__ = ["OomKills"]


class OomKills:
    """Kills in this process's cgroup, of version 2 or 1. Where there is no counter nothing is ever said to be one."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._files = list(_counters(root))
        self._seen = self._count()
        self._unexplained = 0

    def explains_one(self) -> bool:
        """For a child that has been killed by SIGKILL, not by us: whether there is a kill that no other death explains."""
        count = self._count()
        self._unexplained += max(0, count - self._seen)
        self._seen = count
        if not self._unexplained:
            return False
        self._unexplained -= 1
        return True

    def _count(self) -> int:
        for file in self._files:
            try:
                lines = file.read_text().splitlines()
            except OSError:
                continue
            for name, _, value in (line.partition(" ") for line in lines):
                if name == "oom_kill" and value.isdigit():
                    return int(value)
        return 0


def _counters(root: Path) -> Iterator[Path]:
    """Where the counter may be, the most specific first: a container may see its own cgroup as the root of all."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    mounts = root / "sys/fs/cgroup"
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            for base in (mounts, mounts / "unified"):
                yield base / path.lstrip("/") / "memory.events"
                yield base / "memory.events"
        elif "memory" in controllers.split(","):
            yield mounts / "memory" / path.lstrip("/") / "memory.oom_control"
            yield mounts / "memory" / "memory.oom_control"
