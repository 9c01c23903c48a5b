"""Finding what a setting names: `proj.routers.FeedRouter`, or `proj.routers:FeedRouter`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from celeriac.exceptions import ConfigError

__all__ = ["symbol"]


def symbol(name: str, setting: str) -> Any:
    """The object of that name, its module imported if need be; raises `ConfigError` naming the setting.

    Only for names that the application's own configuration holds, never for one that came over the wire.
    """
    module_name, _, attribute = name.rpartition(":" if ":" in name else ".")
    if not module_name or not attribute:
        raise ConfigError(f"setting {setting}: {name!r} is not the name of an object; write module.name")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name == missing or module_name.startswith(f"{missing}."):
            raise ConfigError(f"setting {setting} names {name!r}, but there is no module {missing!r}") from None
        raise
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise ConfigError(
            f"setting {setting} names {name!r}, but module {module_name!r} has no {attribute!r}"
        ) from None
