"""Finding the application that `-A` names."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Mapping
from types import ModuleType, TracebackType
from typing import Any

from celeriac.app import Celery
from celeriac.configuration import read_object
from celeriac.exceptions import AppNotFound

__all__ = ["AppImportError", "find_app", "load_app"]

_REMEDY = "Go to the folder that holds it, or name that folder with --workdir"


class AppImportError(AppNotFound):
    """The module was found but raised while it was imported; its own error is the `__cause__`."""

    def print_cause(self) -> None:
        """Its traceback, from the application's first line on: without us and the import system."""
        cause = self.__cause__ or self
        traceback.print_exception(type(cause), cause, _own_part(cause.__traceback__))


def load_app(name: str, config: str | None = None, settings: Mapping[str, Any] | None = None) -> Celery:
    """As `find_app`, with the modules imported that the settings `imports` and `include` list.

    The module `config` has settings that win over the application's, and `settings` win over both; an `include` of them
    adds to the application's.
    """
    app = find_app(name)
    if config is not None:
        try:
            module = _imported(config, os.getcwd())
            app.conf.override(read_object(module, app.conf.namespace), source=f"--config {config}")
        except _NoModule as error:
            raise AppNotFound(f"--config names {config!r}, but {error}") from None
    more = dict(settings or {})
    if "include" in more:
        more["include"] = (*app.conf.include, *more["include"])
    app.conf.override(more)
    for setting in ("imports", "include"):
        for module_name in app.conf[setting]:
            try:
                _imported(module_name, os.getcwd())
            except _NoModule as error:
                raise AppNotFound(f"setting {setting} names {module_name!r}, but {error}") from None
    try:
        app.discover()
    except (Exception, SystemExit) as error:
        raise AppImportError(f"autodiscover_tasks failed: {type(error).__name__}: {error}") from error
    return app


def find_app(name: str, folder: str | None = None) -> Celery:
    """The application of `-A name`: `tasks`, `proj.celery`, `proj:app`, or a package whose `celery` module has it.

    `folder` (the current one by default) is looked in first. Raises `AppNotFound` saying where it looked.
    """
    place = os.path.abspath(folder or os.getcwd())
    if place not in sys.path:
        sys.path.insert(0, place)
    module_name, colon, attribute = name.partition(":")
    if name.endswith(".py"):
        meant = os.path.normpath(name.removesuffix(".py")).replace(os.sep, ".")
        raise AppNotFound(f"{name!r} is the name of a file; write the module's as Python imports it: -A {meant}")
    if not module_name or not all(part.isidentifier() for part in module_name.split(".")):
        raise AppNotFound(
            f"{name!r} is not the name of a module. Write it as in Python: -A tasks for tasks.py, -A proj.celery for "
            "proj/celery.py, -A proj:app for the variable app of it"
        )
    try:
        module = _imported(module_name, place)
    except _NoModule as error:
        raise AppNotFound(f"{error}. {_REMEDY}") from None
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


class _NoModule(AppNotFound):
    pass


def _imported(module_name: str, place: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name == missing or module_name.startswith(f"{missing}."):
            raise _NoModule(
                f"there is no module {missing!r}: looked for {missing.replace('.', os.sep)}.py in {place} and on Python's "
                "path"
            ) from None
        raise AppImportError(f"importing {module_name!r} failed: {error}") from error
    except (Exception, SystemExit) as error:
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


def _own_part(trace: TracebackType | None) -> TracebackType | None:
    first = trace
    while first is not None:
        file = first.tb_frame.f_code.co_filename
        importing = file.startswith("<frozen importlib") or os.path.dirname(file) == os.path.dirname(importlib.__file__)
        if file != __file__ and not importing:
            return first
        first = first.tb_next
    return None  # not one line of it ran: a syntax error, which says itself where it is


def _exists(module_name: str) -> bool:
    return importlib.util.find_spec(module_name) is not None


def _file(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or "built in"
