"""The command line for programs that have the application at hand: `app.worker_main()`, `app.bugreport()`."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from celeriac.app import Celery
from celeriac.cli import cli
from celeriac.exceptions import ConfigError

__all__ = ["bugreport", "run_for"]


def run_for(app: Celery, argv: Sequence[str]) -> None:
    """Run a command for this application; does not return. Raises `ConfigError` for one that no module holds.

    This process becomes the command: a worker's processes are forked, and the threads and connections of a program that
    was at something else would not survive it.
    """
    command = [sys.executable, *_interpreter_flags(), "-m", "celeriac", "-A", _name_of(app), *argv]
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.execv(sys.executable, command)


def bugreport(app: Celery) -> str:
    """What `celeriac report` prints."""
    written = io.StringIO()
    with contextlib.redirect_stdout(written):
        cli.main(["-A", _name_of(app), "report"], standalone_mode=False)
    return written.getvalue()


def _name_of(app: Celery) -> str:
    """How `-A` would name it, for processes to come: the module that has it in a variable."""
    for module_name, module in list(sys.modules.items()):
        for variable, value in list(vars(module).items()):
            if value is app:
                return f"{_importable(module_name)}:{variable}"
    raise ConfigError("no module has this application in a variable of its own; name it there: app = Celery(...)")


def _importable(module_name: str) -> str:
    if module_name != "__main__":
        return module_name
    module = sys.modules["__main__"]
    if module.__spec__ is not None:
        return str(module.__spec__.name)
    file = getattr(module, "__file__", None)
    if file is None:
        raise ConfigError("the application was made at a prompt; its worker needs a module that it can import")
    return Path(file).stem


def _interpreter_flags() -> list[str]:
    """The flags this Python was started with, so that -W error and the like hold in the command too."""
    return subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined,no-any-return]
