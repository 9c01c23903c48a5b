"""Finding the tasks of packages: `app.autodiscover_tasks(["shop", "mail"])`."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable

__all__ = ["Discovery"]


class Discovery:
    """Packages (or a function that names them, when it is time) and the module to look for in each."""

    def __init__(self, packages: Iterable[str] | Callable[[], Iterable[str]], related_name: str | None) -> None:
        self.packages = packages
        self.related_name = related_name

    def run(self) -> None:
        """Import what there is. A package without the module is passed over; an error inside of one is raised."""
        packages = self.packages() if callable(self.packages) else self.packages
        for package in packages:
            _import_related(package, self.related_name)


def _import_related(package: str, related_name: str | None) -> None:
    module = importlib.import_module(package)
    if related_name is None:
        return
    name = f"{package}.{related_name}"
    # A plain module has no modules inside of it: what it defines is registered by now.
    if hasattr(module, "__path__") and importlib.util.find_spec(name) is not None:
        importlib.import_module(name)
