"""Configuration objects: modules, classes, instances, dictionaries, and dotted names of these, as settings by name.

`app.config_from_object` and `app.config_from_envvar` are `defer_object` and `defer_envvar` on the application's settings.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from types import ModuleType, NoneType
from typing import Any

from celeriac.exceptions import ConfigError
from celeriac.settings import OLD_NAMES, SETTINGS, Settings
from celeriac.settings.names import looks_like_setting, with_prefix

__all__ = ["defer_envvar", "defer_object", "read_object"]

_OLD_NAME_OF = {name: old for old, name in OLD_NAMES.items()}
_PLAIN = (str, bytes, int, float, NoneType, list, tuple, set, frozenset, Mapping, timedelta)


def defer_object(conf: Settings, obj: Any, silent: bool = False, namespace: str | None = None) -> None:
    """Have the object read when a setting is first read; `conf.finalize()` reads it at once."""
    conf.defer(lambda: read_object(obj, namespace or conf.namespace, silent), _source(obj), namespace)


def defer_envvar(conf: Settings, variable: str, silent: bool = False, namespace: str | None = None) -> bool:
    """The same for the dotted name in an environment variable. False if it is not set and `silent`, else `ConfigError`."""
    name = os.environ.get(variable)
    if name:
        defer_object(conf, name, silent, namespace)
    elif not silent:
        raise ConfigError(
            f"the environment variable {variable} is not set; it should name the configuration's module, such as "
            f"{variable}=proj.celeryconfig"
        )
    return bool(name)


def read_object(obj: Any, namespace: str | None = None, silent: bool = False) -> Mapping[str, Any]:
    """The settings of an object by name, unchecked; raises `ConfigError`. `silent` passes over a module that is missing.

    Lower-case names and Celery's old upper-case ones are read, but not one kind here and the other there. In a namespace
    ("CELERY") names that have it before them (CELERY_TASK_ALWAYS_EAGER) hold against both kinds. Modules, functions,
    classes and private names are passed over where they are no settings.
    """
    source = _source(obj)
    with _failures_told(source):
        if isinstance(obj, str):
            obj = _imported(obj, silent)
        names = [name for name in (obj if isinstance(obj, Mapping) else dir(obj)) if _is_public(name)]
        get = obj.__getitem__ if isinstance(obj, Mapping) else lambda name: getattr(obj, name)
        if not namespace:
            _refuse_mixture(set(names), source)
        return _settings(obj, names, get, namespace)


# ── from an object to settings ───────────────────────────────────────────────────────────────────────────────────────


def _settings(obj: Any, names: list[str], get: Callable[[str], Any], namespace: str | None) -> dict[str, Any]:
    settings = {}
    left = dict.fromkeys(names)
    for name in SETTINGS:
        ways = [way for way in _ways(name, namespace) if way in left]
        if ways:
            settings[name] = get(ways[0])
        for way in ways:
            left.pop(way, None)
    for name in left:
        bare = _others_name(obj, name, namespace)
        if bare:
            value = get(name)
            if isinstance(obj, Mapping) or isinstance(value, _PLAIN):
                settings[bare] = value
    return settings


def _ways(name: str, namespace: str | None) -> Iterator[str]:
    """How a setting may be written, the one that holds first."""
    if namespace:
        yield with_prefix(name, namespace)
    yield name
    if name in _OLD_NAME_OF:
        yield _OLD_NAME_OF[name]
    if name == "timezone":
        yield "TIME_ZONE"  # Django's


def _others_name(obj: Any, name: str, namespace: str | None) -> str | None:
    """The name of what is no setting, but may be a plug-in's or a slip of the pen."""
    if namespace:
        prefix = with_prefix("", namespace)
        return name.removeprefix(prefix).lower() if name.startswith(prefix) else None
    # Other objects have attributes for purposes of their own.
    return name if isinstance(obj, (Mapping, ModuleType, type)) or looks_like_setting(name) else None


def _refuse_mixture(names: set[str], source: str) -> None:
    """As in Celery the fewer are wrong, but not those that stand there in both ways."""
    new = names & _OLD_NAME_OF.keys()
    old = names & OLD_NAMES.keys()
    convert = OLD_NAMES if len(new) >= len(old) else _OLD_NAME_OF
    wrong = sorted(name for name in (old if convert is OLD_NAMES else new) if convert[name] not in names)
    if new and wrong:
        wanted = "lower-case" if convert is OLD_NAMES else "old upper-case"
        renames = "".join(f"\n  {name} -> {convert[name]}" for name in wrong)
        raise ConfigError(f"{source} mixes two ways to write settings; most are {wanted} names, so rename:{renames}")


def _is_public(name: Any) -> bool:
    return isinstance(name, str) and not name.startswith("_")


# ── from a name to an object ─────────────────────────────────────────────────────────────────────────────────────────


def _imported(name: str, silent: bool) -> Any:
    module_name, colon, attribute = name.partition(":")
    with _current_folder_on_path():
        module = _module(module_name)
        if module is None and not colon and "." in name:
            module_name, _, attribute = name.rpartition(".")
            module = _module(module_name)
    try:
        found: Any = module
        for part in attribute.split(".") if module is not None and attribute else ():
            found = getattr(found, part)
    except AttributeError:
        found = None
    if found is not None:
        return found
    if silent:
        return {}
    raise ConfigError(_what_is_missing(name, module_name, attribute, module))


def _module(name: str) -> ModuleType | None:
    """The module, or None if it or the package it is in does not exist."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            return None
        raise


def _what_is_missing(name: str, module_name: str, attribute: str, module: ModuleType | None) -> str:
    if name.endswith(".py"):
        meant = os.path.normpath(name.removesuffix(".py")).replace(os.sep, ".")
        return f"the configuration {name!r} is the name of a file; write the module's as Python imports it: {meant!r}"
    if module is not None:
        return f"the configuration {name!r} is not there: module {module_name!r} has no {attribute!r}"
    looked_for = name.partition(":")[0].replace(".", os.sep)
    return (
        f"there is no configuration module {name.partition(':')[0]!r}: looked for {looked_for}.py in {os.getcwd()} and on "
        "Python's path"
    )


@contextmanager
def _current_folder_on_path() -> Iterator[None]:
    folder = os.getcwd()
    if folder in sys.path or "" in sys.path:
        yield
        return
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


# ── in messages ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _source(obj: Any) -> str:
    if isinstance(obj, str):
        return obj
    if isinstance(obj, ModuleType):
        return obj.__name__
    if isinstance(obj, type):
        return f"{obj.__module__}:{obj.__qualname__}"
    return "a dictionary" if isinstance(obj, Mapping) else f"a {type(obj).__qualname__} object"


@contextmanager
def _failures_told(source: str) -> Iterator[None]:
    """Whatever the user's own code raises says which configuration it was, and where."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        from traceback import extract_tb

        frames = extract_tb(error.__traceback__)
        place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames[-1].filename != __file__ else ""
        raise ConfigError(f"reading {source} failed: {type(error).__name__}: {error}{place}") from error
