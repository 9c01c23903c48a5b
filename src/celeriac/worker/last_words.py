"""The Python stack of a child at its death, written into memory that outlives it.

At a fatal signal (SIGSEGV, SIGFPE, SIGABRT, SIGBUS, SIGILL) faulthandler writes it by itself. Before the supervisor kills a
child it asks by a real-time signal, which no task has a use for. A child that is killed by others leaves nothing.
"""

from __future__ import annotations

import faulthandler
import itertools
import os
import re
import signal
import time
from pathlib import Path

import celeriac
from celeriac.worker.processes import anonymous_file

__all__ = ["LastWords", "leave_last_words", "without_our_frames"]

_DUMP: int | None = signal.SIGRTMAX - 1 if hasattr(signal, "SIGRTMAX") else None
#: How long a child that is about to be killed may take to write, and for how long nothing must come to be the end.
_WAIT_S = 0.05
_SILENCE_S = 0.004
_MOST_READ = 100_000
_LONGEST = 3000

_OURS = f"{Path(celeriac.__file__ or '').parent}{os.sep}"
_STDLIB = f"{Path(os.__file__).parent}{os.sep}"
_FRAME = re.compile(r'^  File "(.*)", line \d+ in ')
#: Here a child's own life begins; below stands how its worker was started.
_FORK = re.compile(rf'^  File "{re.escape(_OURS)}worker/template\.py", line \d+ in _be_child')
_STACK = re.compile(r"^\S.*\(most recent call first\):$")
#: What faulthandler adds that is not of the program's Python code.
_REST = re.compile(r"^(Extension modules:|Current thread's C stack trace|<Cannot show all threads)", re.MULTILINE)


class LastWords:
    """The supervisor's end, one for each child. `fd` is passed to the child."""

    def __init__(self) -> None:
        self.fd = anonymous_file("celeriac-last-words")

    def ask(self, pid: int) -> None:
        """Have the child write down where it is; returns when it has, or after a moment if it does not."""
        if _DUMP is None:
            return
        try:
            os.kill(pid, _DUMP)
        except ProcessLookupError:
            return
        size, grown = 0, time.monotonic()
        deadline = grown + _WAIT_S
        while (now := time.monotonic()) < deadline and not (size and now - grown > _SILENCE_S):
            if os.fstat(self.fd).st_size != size:
                size, grown = os.fstat(self.fd).st_size, now
            time.sleep(0.0005)

    def read(self) -> str:
        """What there is, without our own frames."""
        return without_our_frames(os.pread(self.fd, _MOST_READ, 0).decode("utf-8", "backslashreplace"))[:_LONGEST]

    def close(self) -> None:
        os.close(self.fd)


def leave_last_words(fd: int) -> None:
    """The child's end. What a task forks leaves none here: its death is not the child's."""
    faulthandler.enable(fd, all_threads=False)
    if _DUMP is not None:
        faulthandler.register(_DUMP, fd, all_threads=True, chain=False)
    os.register_at_fork(after_in_child=_leave_none)


def _leave_none() -> None:
    faulthandler.disable()
    if _DUMP is not None:
        faulthandler.unregister(_DUMP)


def without_our_frames(text: str) -> str:
    """A dump of faulthandler from which everything is taken that runs the tasks: threads, and the ends of stacks."""
    found = _REST.search(text)
    lines = (text[: found.start()] if found else text).rstrip().splitlines()
    starts = [number for number, line in enumerate(lines) if _STACK.match(line)]
    head, *stacks = [lines[start:end] for start, end in itertools.pairwise([0, *starts, len(lines)])]
    return "\n".join(filter(None, ["\n".join(head).strip(), *("\n".join(_top(stack)) for stack in stacks)]))


def _top(stack: list[str]) -> list[str]:
    """Down to the last frame that is neither ours nor the standard library's; nothing if there is none."""
    stack = list(itertools.takewhile(lambda line: not _FORK.match(line), stack))
    theirs = [number for number, line in enumerate(stack) if _is_theirs(line)]
    return stack[: theirs[-1] + 1] if theirs else []


def _is_theirs(line: str) -> bool:
    frame = _FRAME.match(line)
    if frame is None:
        return False
    path = frame[1]
    if path.startswith("<frozen"):
        return False
    in_stdlib = path.startswith(_STDLIB) and "-packages" not in path
    return not in_stdlib and not path.startswith(_OURS)
