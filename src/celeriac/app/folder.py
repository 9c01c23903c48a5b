"""The folder of an application, where its embedded store lies."""

from __future__ import annotations

import os
import sys
import types

__all__ = ["makers_file", "project_folder"]


def makers_file(app: object) -> str | None:
    """The module that makes this application: the first caller that is no constructor of ours or of a subclass.

    None for one that celeriac itself makes, as no module did: the store does not belong beside the installed package.
    """
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_locals.get("self") is app:
        frame = frame.f_back
    if frame is None or frame.f_globals.get("__name__", "").startswith("celeriac."):
        return None
    return frame.f_globals.get("__file__")


def project_folder(module_file: str | None) -> str:
    """The folder of the outermost package of a module, or of the module itself.

    Found from the files alone, so that the module means the same folder whether it is imported or run as a script.
    """
    if module_file is None:
        return os.getcwd()
    folder = os.path.dirname(os.path.abspath(module_file))
    while os.path.exists(os.path.join(folder, "__init__.py")) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    return folder
