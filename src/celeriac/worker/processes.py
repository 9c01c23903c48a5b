"""What the worker's processes have in common: they die with their parent and leave stopping to the supervisor."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from types import FrameType

__all__ = ["die_with_parent", "exit_text", "leave_signals_to_the_supervisor"]

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int) -> None:
    """Be killed by the kernel in the moment the parent dies (Linux; elsewhere the closed channel tells, a little later)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:  # it died before we asked
            os._exit(1)


def leave_signals_to_the_supervisor() -> None:
    """SIGTERM and SIGINT reach the whole group (Ctrl-C, systemd); the supervisor decides what they mean for us.

    A handler that does nothing, and not SIG_IGN: what a task starts by exec gets the default back.
    """

    def nothing(_signal: int, _frame: FrameType | None) -> None:
        pass

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, nothing)


def exit_text(status: int) -> str:
    """How a process ended, from `os.waitstatus_to_exitcode`: for the log and for a task's history."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"signal {-status}"
