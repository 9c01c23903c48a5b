"""What the worker's processes have in common: they die with their parent and leave stopping to the supervisor."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from types import FrameType

__all__ = [
    "die_with_parent",
    "exit_text",
    "leave_forks_to_the_task",
    "leave_signals_to_the_supervisor",
    "stop_signals",
    "wake_pipe",
]

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
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, _nothing)


def _nothing(_signal: int, _frame: FrameType | None) -> None:
    pass


def leave_forks_to_the_task() -> None:
    """What a task forks from now on ends at SIGTERM, as multiprocessing expects; Ctrl-C still leaves it to its task.

    SIGTERM is held back during the fork, or one that comes before the fork has its own handlers would be lost.
    """
    mask = threading.local()

    def before() -> None:
        mask.earlier = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def after_in_parent() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask.earlier)

    def after_in_child() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, _nothing)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask.earlier)

    os.register_at_fork(before=before, after_in_parent=after_in_parent, after_in_child=after_in_child)


def stop_signals() -> list[signal.Signals]:
    """What asks a worker to stop. Under nohup SIGHUP is ignored when we start, and stays so."""
    asked = [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP]
    return [number for number in asked if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]


def wake_pipe() -> tuple[int, int]:
    """A pipe whose ends do not block, for signals to end a poll."""
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends


def exit_text(status: int) -> str:
    """How a process ended, from `os.waitstatus_to_exitcode`: for the log and for a task's history."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"signal {-status}"
