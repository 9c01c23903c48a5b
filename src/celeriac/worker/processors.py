"""How many processors this process may use: what `-c auto` means, and the default of `-c`."""

from __future__ import annotations

import math
import os
from pathlib import Path, PurePosixPath

__all__ = ["available_processors"]


def available_processors(root: Path = Path("/")) -> int:
    """The processors we may run on (affinity, PYTHON_CPU_COUNT), or fewer where a container's quota allows fewer.

    A quota of two and a half processors counts as three: two would leave half of one unused.
    """
    quota = _quota(root)
    usable = _usable()
    return usable if quota is None else max(1, min(usable, math.ceil(quota)))


def _usable() -> int:
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def _quota(root: Path) -> float | None:
    """The least that this process's control groups and those above them allow, in processors."""
    quotas = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:  # version 2: one hierarchy for everything
            quotas += [_quota_v2(folder) for folder in _upwards(root / "sys/fs/cgroup", group)]
        elif "cpu" in controllers.split(","):
            for mount in ("cpu", "cpu,cpuacct"):
                quotas += [_quota_v1(folder) for folder in _upwards(root / "sys/fs/cgroup" / mount, group)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _upwards(mount: Path, group: str) -> list[Path]:
    """The group's folder and all above it. In a container the names may be the host's: then only the top is there."""
    inner = PurePosixPath(group.lstrip("/"))
    return [mount / inner, *(mount / parent for parent in inner.parents)]


def _quota_v2(folder: Path) -> float | None:
    return _ratio(*(_read(folder / "cpu.max").split() or ["max", ""])[:2])


def _quota_v1(folder: Path) -> float | None:
    return _ratio(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str = "") -> float | None:
    """-1 and `max` stand for no limit."""
    try:
        quota_us, period_us = int(quota), int(period)
    except ValueError:
        return None
    return quota_us / period_us if quota_us > 0 and period_us > 0 else None


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
