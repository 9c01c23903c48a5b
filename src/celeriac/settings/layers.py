"""Where values come from, and which of them holds.

From the strongest: the command line, the environment (`CELERY_BROKER_URL` and a few), code (`app.conf.x = 1`, keywords of
`Celery(...)`), `add_defaults`, the configuration object, the table's default. This is Celery's order, with the command line
added.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from celeriac.settings.table import SETTINGS

__all__ = ["CODE", "DEFAULT", "Found", "Layers"]

CODE = "code"
DEFAULT = "default"

_ENVIRONMENT = {
    "broker_url": "CELERY_BROKER_URL",
    "broker_read_url": "CELERY_BROKER_READ_URL",
    "broker_write_url": "CELERY_BROKER_WRITE_URL",
    "result_backend": "CELERY_RESULT_BACKEND",
}


class Found(NamedTuple):
    """A value and where it came from."""

    value: Any
    source: str


class Layers:
    """Checked values by name, from each source."""

    def __init__(self) -> None:
        self._forced: dict[str, Found] = {}
        self._code: dict[str, Found] = {}
        self._added: dict[str, Found] = {}
        self._configured: dict[str, Found] = {}
        # A dictionary that is a default belongs to this application, which may fill it.
        self._defaults = {
            name: dict(setting.default) if isinstance(setting.default, dict) else setting.default
            for name, setting in SETTINGS.items()
        }
        self.merged: dict[str, Found] = {}
        #: The values of all names, for reading often; the environment has no part in it.
        self.current: dict[str, Any] = self._defaults

    def find(self, name: str) -> Found:
        """The value that holds; raises `KeyError` for a name that is no setting and has none."""
        if name in _ENVIRONMENT and name not in self._forced and (value := os.environ.get(_ENVIRONMENT[name])):
            return Found(value, f"environment {_ENVIRONMENT[name]}")
        if name in self.merged:
            return self.merged[name]
        default = self._defaults[name]
        return Found(default, DEFAULT if default == SETTINGS[name].default else CODE)

    def names(self) -> list[str]:
        """What has been set by anything but the table, sorted."""
        from_environment = {name for name, variable in _ENVIRONMENT.items() if os.environ.get(variable)}
        filled = {name for name, value in self._defaults.items() if value != SETTINGS[name].default}
        return sorted(self.merged.keys() | from_environment | filled)

    def force(self, values: Mapping[str, Any], source: str) -> None:
        """Set what nothing else changes."""
        self._forced.update(_found(values, source))
        self._merge()

    def set(self, values: Mapping[str, Any]) -> None:
        """Set by code."""
        self._code.update(_found(values, CODE))
        self._merge()

    def unset(self, names: Iterable[str]) -> None:
        """Forget what code has set."""
        for name in names:
            self._code.pop(name, None)
        self._merge()

    def add(self, values: Mapping[str, Any], source: str) -> None:
        """Add values that are stronger than the configuration object's and those that were added before."""
        self._added.update(_found(values, source))
        self._merge()

    def configure(self, values: Mapping[str, Any], source: str) -> None:
        """Set the configuration object's values, in place of an earlier object's."""
        self._configured = _found(values, source)
        self._merge()

    def is_code(self, name: str) -> bool:
        """Whether code has set it."""
        return name in self._code

    def is_forced(self, name: str) -> bool:
        """Whether the command line has set it."""
        return name in self._forced

    def _merge(self) -> None:
        # Replaced, not changed, so that other threads see all of it or nothing.
        self.merged = {**self._configured, **self._added, **self._code, **self._forced}
        self.current = {**self._defaults, **{name: found.value for name, found in self.merged.items()}}


def _found(values: Mapping[str, Any], source: str) -> dict[str, Found]:
    return {name: Found(value, source) for name, value in values.items()}
