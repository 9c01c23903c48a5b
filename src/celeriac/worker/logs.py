"""The worker's log: where it goes, its format and colours."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TextIO

import msgspec

from celeriac import signals
from celeriac.exceptions import ConfigError
from celeriac.request import running
from celeriac.utils.log import TASK_LOGGER
from celeriac.worker.names import name_for_process
from celeriac.worker.printing import print_to_log

__all__ = ["MAIN_PROCESS", "SLOT_THREAD", "LogSettings", "WorkerLog", "let_go_of"]

#: What the log calls the process that nobody has forked, and the template, which speaks for it.
MAIN_PROCESS = "MainProcess"

#: What the names of threads that run tasks begin with: the log names them where it would name the process.
SLOT_THREAD = "ThreadPoolWorker"

_COLOURS = {logging.DEBUG: "34", logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "35"}


class LogSettings(msgspec.Struct, frozen=True):
    """What the command line and the application's settings say about the log."""

    level: str
    line_format: str
    task_format: str
    #: None: the file is stderr.
    logfile: str | None = None
    date_format: str | None = None
    task_date_format: str | None = None
    #: None: at a terminal. NO_COLOR in the environment forbids it in any case.
    colour: bool | None = None
    #: Whether the root logger is ours; else the worker's own lines go where the application's handlers take them.
    take_root: bool = True


class WorkerLog:
    """The log of one of the worker's processes, and of those forked from it."""

    def __init__(self, settings: LogSettings) -> None:
        self._settings = settings
        self._ours: list[tuple[logging.Logger, logging.Handler]] = []
        #: Whether receivers of `setup_logging` have done it; nothing is changed then.
        self._left_alone = False

    def set_up(self, process_name: str) -> None:
        """Send the log to stderr or a file. Receivers of `setup_logging` do it instead, where there are any.

        In the file's name %i is the child's number (0 for the main process), and %I the same with a dash (nothing for
        it). Raises `ConfigError` for a file that cannot be written.
        """
        settings = self._settings
        _name_records(process_name)
        logfile = name_for_process(settings.logfile, process_name) if settings.logfile is not None else None
        facts = {
            "loglevel": logging.getLevelNamesMapping()[settings.level],
            "logfile": logfile,
            "colorize": _is_coloured(settings.colour, logfile),
        }
        answers = signals.setup_logging.send(sender=None, format=settings.line_format, **facts)
        # One that raised has been logged, and has set up nothing that could be relied on.
        self._left_alone = any(not isinstance(answer, Exception) for _, answer in answers)
        if not self._left_alone:
            self._set_up(facts)

    def name_process(self, name: str) -> None:
        """In a forked process: have the lines say so. Where each process has a file of its own, start that."""
        _name_records(name)
        logfile = self._settings.logfile
        if logfile is not None and name_for_process(logfile, name) != name_for_process(logfile, MAIN_PROCESS):
            self.set_up(name)

    def prints(self, level: str | None) -> AbstractContextManager[None]:
        """As `print_to_log`, where the log is ours."""
        return print_to_log(None if self._left_alone else level)

    def _set_up(self, facts: dict[str, Any]) -> None:
        settings = self._settings
        root, worker, task = logging.getLogger(), logging.getLogger("celeriac"), logging.getLogger(TASK_LOGGER)
        for logger, handler in self._ours:
            logger.removeHandler(handler)
            handler.close()
        self._ours.clear()
        if settings.take_root:
            for logger in (root, worker, task):
                logger.handlers.clear()
        main = root if settings.take_root else worker
        if not (root.handlers or main.handlers):
            self._add(main, _Formatter(settings.line_format, settings.date_format, facts["colorize"]), facts["logfile"])
        main.setLevel(settings.level)
        signals.after_setup_logger.send(sender=None, logger=main, format=settings.line_format, **facts)
        if not task.handlers:
            formatter = _TaskFormatter(settings.task_format, settings.task_date_format, facts["colorize"])
            self._add(task, formatter, facts["logfile"])
        task.setLevel(settings.level)
        task.propagate = False  # or its lines would come twice
        signals.after_setup_task_logger.send(sender=None, logger=task, format=settings.task_format, **facts)

    def _add(self, logger: logging.Logger, formatter: logging.Formatter, logfile: str | None) -> None:
        if logfile is None:
            handler: logging.Handler = _StreamHandler(sys.__stderr__)
        else:
            try:
                handler = logging.FileHandler(logfile, encoding="utf-8")
            except OSError as error:
                raise ConfigError(f"the log file {logfile} cannot be written: {error.strerror}") from None
        handler.setFormatter(formatter)
        logger.addHandler(handler)
        self._ours.append((logger, handler))


def _is_coloured(wanted: bool | None, logfile: str | None) -> bool:
    stream = sys.__stderr__
    if logfile is not None or stream is None or os.environ.get("NO_COLOR"):
        return False
    return stream.isatty() if wanted is None else wanted


class _Records:
    """Makes log records that name the worker's process, or the thread of it that runs tasks; for anyone's handlers."""

    def __init__(self, make: Callable[..., logging.LogRecord], process_name: str) -> None:
        self.make = make
        self._process_name = process_name

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self.make(*args, **kwargs)
        thread = record.threadName or ""
        record.processName = thread if thread.startswith(SLOT_THREAD) else self._process_name
        return record


def _name_records(process_name: str) -> None:
    make = logging.getLogRecordFactory()
    logging.setLogRecordFactory(_Records(make.make if isinstance(make, _Records) else make, process_name))


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
    def __init__(self, line_format: str, date_format: str | None, colour: bool) -> None:
        super().__init__(line_format, date_format)
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        code = _COLOURS.get(record.levelno) if self._colour else None
        return line if code is None else f"\x1b[{code}m{line}\x1b[0m"


class _TaskFormatter(_Formatter):
    """Adds which task is running."""

    def format(self, record: logging.LogRecord) -> str:
        run = running()
        if run is not None:
            record.task_name, record.task_id = run.task.name, run.context.id
        else:
            record.__dict__.setdefault("task_name", "???")
            record.__dict__.setdefault("task_id", "???")
        return super().format(record)
