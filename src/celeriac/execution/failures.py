"""What an exception leaves behind: `ExceptionInfo` for handlers and signals, and its traceback as text."""

from __future__ import annotations

import os
import traceback
from types import TracebackType

import msgspec

__all__ = ["ExceptionInfo", "format_traceback", "safe_repr", "safe_text"]

#: What stands above a task's own frames in a traceback.
_NOT_THE_TASKS = (
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep,
    os.path.join(os.path.dirname(os.__file__), "asyncio") + os.sep,
)


class ExceptionInfo(msgspec.Struct, frozen=True):
    """An exception and its traceback as text (Celery's `einfo`)."""

    exception: BaseException
    traceback: str

    @classmethod
    def of(cls, error: BaseException) -> ExceptionInfo:
        return cls(error, format_traceback(error))

    @property
    def type(self) -> type[BaseException]:
        return type(self.exception)

    @property
    def tb(self) -> TracebackType | None:
        return self.exception.__traceback__

    def __str__(self) -> str:
        return self.traceback


def format_traceback(error: BaseException) -> str:
    """The traceback as text, from the task's own first frame on."""
    trace = error.__traceback__
    while (
        trace is not None and trace.tb_frame.f_code.co_filename.startswith(_NOT_THE_TASKS) and trace.tb_next is not None
    ):
        trace = trace.tb_next
    text = "".join(traceback.format_exception(type(error), error, trace))
    # Half characters, as in undecodable file names, could be written to no log file.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def safe_repr(value: object, longest: int | None = None) -> str:
    """The repr of a task's value, whose own `__repr__` must not end the worker."""
    try:
        text = repr(value)
    except Exception as error:
        text = f"<{type(value).__qualname__}, whose repr raises {type(error).__name__}>"
    return text if longest is None or len(text) <= longest else f"{text[: longest - 3]}..."


def safe_text(error: BaseException) -> str:
    """The text of a task's exception; likewise."""
    try:
        return str(error)
    except Exception as trouble:
        return f"<{type(error).__qualname__}, whose text raises {type(trouble).__name__}>"
