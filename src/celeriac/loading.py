"""Finding the application that `-A` names."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from types import ModuleType

from celeriac.app import Celery
from celeriac.exceptions import AppNotFound

__all__ = ["AppImportError", "find_app"]


class AppImportError(AppNotFound):
    """The module was found but raised while it was imported; its own error is the `__cause__`."""


def find_app(name: str, folder: str | None = None) -> Celery:
    """The application of `-A name`: `tasks`, `proj.celery`, `proj:app`, or a package whose `celery` module has it.

    `folder` (the current one by default) is looked in first. Raises `AppNotFound` saying where it looked.
    """
    place = os.path.abspath(folder or os.getcwd())
    if place not in sys.path:
        sys.path.insert(0, place)
    module_name, colon, attribute = name.partition(":")
    if not module_name or not all(part.isidentifier() for part in module_name.split(".")):
        raise AppNotFound(
            f"{name!r} is not the name of a module. Write it as in Python: -A tasks for tasks.py, -A proj.celery for "
            "proj/celery.py, -A proj:app for the variable app of it"
        )
    module = _imported(module_name, place)
    if colon:
        return _attribute(module, attribute)
    app = _only_app(module)
    if app is None and hasattr(module, "__path__") and _exists(f"{module_name}.celery"):
        app = _only_app(_imported(f"{module_name}.celery", place))
    if app is None:
        raise AppNotFound(
            f"module {module_name!r} ({_file(module)}) has no Celery application. Make one there, app = Celery('tasks'), "
            f"or name where it is: -A {module_name}:variable"
        )
    return app


def _imported(module_name: str, place: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name == missing or module_name.startswith(f"{missing}."):
            raise AppNotFound(
                f"there is no module {missing!r}: looked for {missing.replace('.', os.sep)}.py in {place} and on Python's "
                "path. Go to the folder that holds it, or name that folder with --workdir"
            ) from None
        raise AppImportError(f"importing {module_name!r} failed: {error}") from error
    except Exception as error:
        raise AppImportError(f"importing {module_name!r} failed: {type(error).__name__}: {error}") from error


def _attribute(module: ModuleType, path: str) -> Celery:
    found: object = module
    for part in path.split("."):
        found = getattr(found, part, None)
    if isinstance(found, Celery):
        return found
    what = "there is no such variable" if found is None else f"it is {found!r:.80}"
    others = [name for name, value in vars(module).items() if isinstance(value, Celery)]
    hint = f"; did you mean {module.__name__}:{others[0]}?" if others else ""
    raise AppNotFound(f"{module.__name__}:{path} is not a Celery application: {what} in {_file(module)}{hint}")


def _only_app(module: ModuleType) -> Celery | None:
    apps = {name: value for name, value in vars(module).items() if isinstance(value, Celery)}
    for name in ("app", "celery"):
        if name in apps:
            return apps[name]
    distinct = {id(app): app for app in apps.values()}
    if len(distinct) > 1:
        raise AppNotFound(
            f"module {module.__name__!r} has several applications ({', '.join(sorted(apps))}); name one: "
            f"-A {module.__name__}:{min(apps)}"
        )
    return next(iter(distinct.values()), None)


def _exists(module_name: str) -> bool:
    return importlib.util.find_spec(module_name) is not None


def _file(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or "built in"
