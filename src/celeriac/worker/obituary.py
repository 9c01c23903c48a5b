"""How a process of the worker ended, as it is written into the history of what it was running."""

from __future__ import annotations

__all__ = ["obituary"]


def obituary(hostname: str, pid: int, how: str, peak_kib: int | None, stack: str = "") -> str:
    """One line, and below it the Python stack where there is one."""
    peak = f", peak memory {peak_kib / 1024:.0f} MiB" if peak_kib else ""
    line = f"process {pid} of {hostname} ended with {how}{peak}"
    return f"{line}\n{stack}" if stack else line
