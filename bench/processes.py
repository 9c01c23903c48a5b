"""Child processes of a measurement: a clean environment for them, their end, and their memory."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["BenchError", "clean_environment", "cpu_s", "pss_bytes", "run_until_left", "tail", "tree"]

PATIENCE_S = 15.0


class BenchError(Exception):
    """A measurement that could not be made, with what was seen and what to do."""


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without Python's own switches, and `extra`.

    A `PYTHONDONTWRITEBYTECODE` of the caller would have one peer compiled at every start and not the other.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return inherited | dict(extra)


@contextlib.contextmanager
def run_until_left(
    command: list[str], log: Path, folder: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server or worker, with its output in `log`, until the block is left; then end it and all it started."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_S)
        # The session is ours alone, so this reaches only what that process left behind.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, for an error message."""
    if not log.exists():
        return "(no output)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) or "(no output)"


def pss_bytes(roots: Sequence[int]) -> int | None:
    """Memory of processes and all below them, shared pages counted once (PSS); None where the system does not tell."""
    if not Path("/proc/self/smaps_rollup").exists():
        return None
    return sum(_pss_bytes_of_one(pid) for pid in tree(roots))


def cpu_s(pids: Sequence[int]) -> float | None:
    """Seconds of processor time that these have used, for themselves and in the kernel; None where nobody tells."""
    if not Path("/proc/self/stat").exists():
        return None
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended
            user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
            ticks += int(user) + int(system)
    return ticks / os.sysconf("SC_CLK_TCK")


def _pss_bytes_of_one(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise BenchError(f"/proc/{pid}/smaps_rollup has no Pss line")


def tree(roots: Sequence[int]) -> list[int]:
    """These processes and all below them."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # a process may end while we look
            # The name stands in parentheses and may hold anything; the parent is the second field after it.
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = list(roots)
    for pid in found:
        found += children.get(pid, [])
    return found
