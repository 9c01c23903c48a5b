"""Why a value cannot be written or read, in few words."""

from __future__ import annotations

from typing import Any

__all__ = ["reason", "short"]


def reason(error: BaseException) -> str:
    """What an error says; its kind too, where that is not clear from the words."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return str(error) if isinstance(error, (TypeError, ValueError)) else f"{type(error).__name__}: {error}"


def short(value: Any) -> str:
    """The beginning of a value's repr."""
    try:
        text = repr(value)
    except Exception as error:  # a broken __repr__ must not hide what was wrong
        text = f"its repr raises {type(error).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."
