"""What the worker's processes have in common: they die with their parent and leave stopping to the supervisor."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

__all__ = [
    "anonymous_file",
    "close_all_but",
    "die_with_parent",
    "end_broken_process",
    "end_fork",
    "exit_text",
    "flush_standard_streams",
    "fork_process",
    "leave_forks_to_the_task",
    "leave_signals_to_the_supervisor",
    "signals_held_back",
    "stop_signals",
    "wake_pipe",
]

logger = logging.getLogger("celeriac.worker")

_PR_SET_PDEATHSIG = 1
_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)


def anonymous_file(name: str) -> int:
    """The descriptor of a file without a name in any folder, in memory where the system can."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def flush_standard_streams() -> None:
    """Where there are any, and somebody reads them."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):
            stream.flush()


def fork_process() -> int:
    """As `os.fork`."""
    with warnings.catch_warnings():
        # Python 3.12 warns of threads at a fork. Ours start later; those there are, the application or an agent started.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def end_fork(status: int) -> NoReturn:
    """End a forked process here, in the midst of its parent's stack.

    Not by sys.exit: the parent's exit handlers and `finally` blocks are not ours to run.
    """
    try:
        flush_standard_streams()
    finally:
        os._exit(status)


def close_all_but(kept: int) -> None:
    """Close what was inherited, but not the standard streams nor this. What objects own must be closed before."""
    try:
        open_ones = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:  # a container without /proc
        open_ones = list(range(os.sysconf("SC_OPEN_MAX")))
    for fd in open_ones:
        if fd > 2 and fd != kept:
            with suppress(OSError):  # the one by which the folder was read
                os.close(fd)


def die_with_parent(parent_pid: int) -> None:
    """Be killed by the kernel in the moment the parent dies (Linux; elsewhere the closed channel tells, a little later)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:  # it died before we asked
            os._exit(1)


def leave_signals_to_the_supervisor(handler: Callable[[int, FrameType | None], None] | None = None) -> None:
    """SIGTERM and SIGINT reach the whole group (Ctrl-C, systemd); the supervisor decides what they mean for us.

    A handler that does nothing, and not SIG_IGN: what a task starts by exec gets the default back.
    """
    for number in _STOPPING:
        signal.signal(number, handler or _nothing)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)


@contextmanager
def signals_held_back() -> Iterator[None]:
    """What starts meanwhile gets no stop signal before it can `leave_signals_to_the_supervisor`: it would die loudly."""
    earlier = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, earlier)


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
    return [number for number in _STOPPING if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]


def wake_pipe() -> tuple[int, int]:
    """A pipe whose ends do not block, for signals to end a poll."""
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends


def end_broken_process(part: str) -> NoReturn:
    """For an exception outside of any task's run, which is a mistake of ours: this part would be gone and its leases held.

    The supervisor settles the leases of a dead process and starts another.
    """
    logger.critical("%s of this worker process broke; the process ends and is replaced", part, exc_info=True)
    logging.shutdown()
    os._exit(1)


def exit_text(status: int) -> str:
    """How a process ended, from `os.waitstatus_to_exitcode`: for the log and for a task's history."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"signal {-status}"
