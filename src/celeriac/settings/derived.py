"""Settings whose value follows from others."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from celeriac.exceptions import ConfigError
from celeriac.settings.layers import Found, Layers

__all__ = ["DERIVED"]


def _broker_url(layers: Layers) -> Found:
    """The one URL that any of the three settings gives."""
    if layers.is_forced("broker_url"):
        return layers.find("broker_url")
    given = {name: layers.find(name) for name in ("broker_url", "broker_read_url", "broker_write_url")}
    given = {name: found for name, found in given.items() if found.value}
    if len({found.value for found in given.values()}) > 1:
        places = ", ".join(f"{name} ({found.source})" for name, found in given.items())
        raise ConfigError(
            f"{places} differ. celeriac takes and sends tasks in one step, so they have to be the same broker: set "
            "broker_url only"
        )
    return next(iter(given.values()), layers.find("broker_url"))


def _or_default_queue(name: str) -> Callable[[Layers], Found]:
    def derive(layers: Layers) -> Found:
        found = layers.find(name)
        return layers.find("task_default_queue") if found.value is None else found

    return derive


DERIVED: Mapping[str, Callable[[Layers], Found]] = {
    "broker_url": _broker_url,
    "broker_read_url": _broker_url,
    "broker_write_url": _broker_url,
    "result_backend": lambda layers: layers.find("result_backend"),
    "task_default_exchange": _or_default_queue("task_default_exchange"),
    "task_default_routing_key": _or_default_queue("task_default_routing_key"),
}
