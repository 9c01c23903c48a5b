"""Warnings that point at the line of the application which caused them, however deep in here they are noticed."""

from __future__ import annotations

import os
import sys
import warnings

from celeriac.exceptions import CeleriacWarning

__all__ = ["warn"]

_PACKAGE = os.path.dirname(__file__) + os.sep


def warn(text: str, kind: type[Warning] = CeleriacWarning) -> None:
    """Issue a warning at the first line up the stack that is outside of this package."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
        level += 1
    warnings.warn(text, kind, stacklevel=level)
