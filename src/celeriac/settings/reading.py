"""From what a user wrote to a checked name and value."""

from __future__ import annotations

import os
from typing import Any

from celeriac.cautions import warn
from celeriac.exceptions import ConfigError
from celeriac.settings.censoring import shown
from celeriac.settings.names import looks_like_setting, meant, new_name
from celeriac.settings.table import SETTINGS

__all__ = ["Reader"]

_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep
_LONGEST_SHOWN = 200


class Reader:
    """Checks values and warns, once for each name, of those that will not do what they are hoped to."""

    def __init__(self) -> None:
        self.namespace: str | None = None
        self._warned: set[str] = set()

    def name(self, written: str) -> str:
        """The name in the table of one that may be old or have the namespace before it."""
        return new_name(written, self.namespace)

    def read(self, values: dict[str, Any], source: str | None = None) -> dict[str, Any]:
        """The values, checked, by their names in the table; raises `ConfigError` at the first that is wrong.

        `source` is the configuration object that they come from. There, variables that only a plug-in knows are usual.
        """
        checked = {}
        told = []
        for written, value in values.items():
            name = self.name(written)
            if name != written and name in values:
                continue  # the new name is there as well, and holds
            where = "" if source is None else f" (in {source})"
            checked[name], warning = _checked(name, written, value, where, quiet=source is not None)
            if warning:
                told.append((name, warning + where))
        for name, warning in told:
            self._warn(name, warning)
        return checked

    def _warn(self, name: str, warning: str) -> None:
        if name not in self._warned:
            self._warned.add(name)
            warn(warning)


def _checked(name: str, written: str, value: Any, where: str, quiet: bool) -> tuple[Any, str | None]:
    setting = SETTINGS.get(name)
    if setting is None:
        near = meant(written)
        if near is not None:
            raise ConfigError(f"there is no setting {written!r}{where}; did you mean {near!r}?")
        if quiet and not looks_like_setting(written):
            return value, None
        return value, f"celeriac has no setting {written!r}; it is kept, and has no effect"
    try:
        value = setting.check(value)
    except ValueError as error:
        text = shown(name, value)
        text = text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."
        raise ConfigError(f"setting {written} must be {error}, not {text}{where}") from None
    return value, setting.warning(value)
