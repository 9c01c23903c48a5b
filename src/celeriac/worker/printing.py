"""What tasks print goes to the log."""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["print_to_log"]

#: In characters. What is printed without ever ending a line, such as a progress bar, goes in pieces.
_LONGEST_LINE = 65_536
#: Lines that were begun: of threads, some of which may have ended.
_MOST_RESTS = 1000

_printed = logging.getLogger("celeriac.redirected")


class _LogStream(io.TextIOBase):
    """A text stream whose lines go to the log."""

    def __init__(self, level: int) -> None:
        self._level = level
        #: The line that a thread has begun and not ended.
        self._rests: dict[int, str] = {}

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        thread = threading.get_ident()
        lines = (self._rests.pop(thread, "") + text).split("\n")
        rest = lines.pop()
        if len(rest) > _LONGEST_LINE:
            lines.append(rest)
        elif rest:
            self._rests[thread] = rest
            if len(self._rests) > _MOST_RESTS:
                lines.insert(0, self._rests.pop(next(iter(self._rests))))
        for line in lines:
            if line.strip():
                _printed.log(self._level, "%s", line)
        return len(text)

    def flush(self) -> None:
        """Lines go when they are whole."""

    def close(self) -> None:
        rests, self._rests = self._rests, {}
        for rest in rests.values():
            self.write(f"{rest}\n")

    def fileno(self) -> int:
        raise io.UnsupportedOperation("a stream into the log has no file descriptor")


@contextmanager
def print_to_log(level: str | None) -> Iterator[None]:
    """Within it, what is printed goes to the log at this level (None: it stays as it is)."""
    if level is None:
        yield
        return
    before: tuple[Any, Any] = (sys.stdout, sys.stderr)
    stream = _LogStream(logging.getLevelNamesMapping()[level])
    sys.stdout = sys.stderr = stream
    try:
        yield
    finally:
        stream.close()
        sys.stdout, sys.stderr = before
