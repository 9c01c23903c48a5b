"""The worker's log: format, colours, and what tasks print."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from celeriac.exceptions import ConfigError

__all__ = ["let_go_of", "print_to_log", "set_up"]

_COLOURS = {logging.DEBUG: "34", logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "35"}
_printed = logging.getLogger("celeriac.redirected")


def set_up(level: str, log_format: str, process_name: str, logfile: str | None = None) -> None:
    """Send the log of this process to stderr or a file, whatever was set up before (in the parent).

    Raises `ConfigError` for a file that cannot be written.
    """
    root = logging.getLogger()
    for earlier in list(root.handlers):
        root.removeHandler(earlier)
    if logfile is None:
        stream = sys.__stderr__
        handler: logging.Handler = _StreamHandler(stream)
        colour = stream is not None and stream.isatty() and "NO_COLOR" not in os.environ
    else:
        try:
            handler = logging.FileHandler(logfile, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"the log file {logfile} cannot be written: {error.strerror}") from None
        colour = False
    handler.setFormatter(_Formatter(log_format, process_name, colour))
    root.addHandler(handler)
    root.setLevel(level)


class _StreamHandler(logging.StreamHandler[TextIO]):
    """A terminal or pipe that has gone (`worker 2>&1 | tee`, and tee was stopped) takes the log along, not the tasks."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        error = sys.exception()
        # The usual complaint would go to sys.stderr, which is this log again.
        if isinstance(error, OSError):
            let_go_of(self.stream, error)
        else:
            super().handleError(record)


def let_go_of(stream: TextIO, error: OSError) -> None:
    """After a write failed because nobody can ever read it: let it and what follows go nowhere.

    Else what is left in the stream's buffer would fail again at the end of the process, and become its exit status.
    """
    if error.errno in (errno.EPIPE, errno.EIO):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class _Formatter(logging.Formatter):
    def __init__(self, log_format: str, process_name: str, colour: bool) -> None:
        super().__init__(log_format)
        self._process_name = process_name
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        record.processName = self._process_name
        line = super().format(record)
        code = _COLOURS.get(record.levelno) if self._colour else None
        return line if code is None else f"\x1b[{code}m{line}\x1b[0m"


class _LogStream(io.TextIOBase):
    """A text stream whose lines go to the log."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._rest = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        lines = (self._rest + text).split("\n")
        self._rest = lines.pop()
        for line in lines:
            if line.strip():
                _printed.log(self._level, "%s", line)
        return len(text)

    def flush(self) -> None:
        """Lines go when they are whole."""

    def close(self) -> None:
        if self._rest:
            self.write("\n")

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
