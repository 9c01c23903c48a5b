"""Waiting with a deadline, for what announces itself by no event."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["PATIENCE_S", "until"]

#: How long a test waits for what should take milliseconds: machines that run tests are busy.
PATIENCE_S = 30.0

T = TypeVar("T")


def until(look: Callable[[], T], what: str, timeout_s: float = PATIENCE_S, every_s: float = 0.01) -> T:
    """The first true answer of `look`; fails with `what` and the last answer at the deadline."""
    deadline = time.monotonic() + timeout_s
    while not (answer := look()):
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what} (last: {answer!r})"
        time.sleep(every_s)
    return answer
