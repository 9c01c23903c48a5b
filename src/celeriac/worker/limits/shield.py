"""Where an interrupt must wait a moment."""

from __future__ import annotations

import gc
from types import FrameType

__all__ = ["shields"]

# Code that holds locks, or half of an exchange, on which other threads depend; all of it ends soon by itself, as calls to a
# store have deadlines. And what the garbage collector calls (finalizers, gc.callbacks): raised there it is printed and lost.
_SHIELDED = ("celeriac.engines.", "celeriac.publishing", "celeriac.worker.courier", "logging", "weakref", "_weakrefset")


def shields(frame: FrameType) -> bool:
    """Whether nothing may be raised while this frame is on the stack."""
    code = frame.f_code
    if code.co_name == "__del__" or any(getattr(callback, "__code__", None) is code for callback in gc.callbacks):
        return True
    name = frame.f_globals.get("__name__")
    return isinstance(name, str) and name.startswith(_SHIELDED)
