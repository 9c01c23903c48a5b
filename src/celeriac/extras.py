"""Libraries that celeriac can do without."""

from __future__ import annotations

import importlib
from typing import Any

import msgspec

from celeriac.exceptions import ConfigError

__all__ = ["Extra"]


class Extra(msgspec.Struct, frozen=True):
    """An optional library: its name for people, its module, and the extra of celeriac that brings it."""

    library: str
    module: str
    name: str

    @property
    def installed(self) -> bool:
        """Whether it can be imported; finds out without importing more than its parent package."""
        from importlib import util

        try:
            return util.find_spec(self.module) is not None
        except ModuleNotFoundError:  # the parent package is missing
            return False

    @property
    def missing(self) -> ConfigError:
        """The error that says how to install it."""
        return ConfigError(f"{self.library} is not installed: pip install 'celeriac[{self.name}]'")

    def load(self) -> Any:
        """The module; raises `ConfigError` saying how to install it."""
        try:
            return importlib.import_module(self.module)
        except ImportError:
            raise self.missing from None
