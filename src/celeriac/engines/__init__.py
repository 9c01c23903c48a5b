"""From a URL to an engine. An engine's module is imported when its URL is first opened, never before.

An engine module offers `open_broker(url, options)` and `open_results(url, options)`.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from celeriac.engines.base import Broker, EngineOptions, ResultStore
from celeriac.exceptions import ConfigError

__all__ = ["DEFAULT_URL", "open_broker", "open_results"]

DEFAULT_URL = "sqlite://"

_SQLITE, _REDIS, _CLUSTER = "celeriac.engines.sqlite", "celeriac.engines.redis", "celeriac.engines.redis.cluster"
_ENGINES = {
    "memory": _SQLITE,
    "redis": _REDIS,
    "redis+cluster": _CLUSTER,
    "redis+sentinel": _REDIS,
    "redis+socket": _REDIS,
    "rediss": _REDIS,
    "rediss+cluster": _CLUSTER,
    "rediss+sentinel": _REDIS,
    "sentinel": _REDIS,
    "sqlite": _SQLITE,
    "unix": _REDIS,
    "valkey": _REDIS,
    "valkey+socket": _REDIS,
    "valkeys": _REDIS,
}
_PLANNED = {"amqp", "amqps", "pyamqp"}


class _Engine(Protocol):
    def open_broker(self, url: str, options: EngineOptions) -> Broker: ...

    def open_results(self, url: str, options: EngineOptions) -> ResultStore: ...


if TYPE_CHECKING:
    from celeriac.engines import redis, sqlite
    from celeriac.engines.redis import cluster

    # Modules are imported by name at runtime, where no type checker follows: here it sees that each fulfils the contracts.
    _CHECKED: list[_Engine] = [sqlite, redis, cluster]


def open_broker(url: str, options: EngineOptions) -> Broker:
    """The broker that a URL names. Opens no connection yet; raises `ConfigError` for a URL that no engine serves."""
    return _engine(url, "broker_url").open_broker(url, options)


def open_results(url: str, options: EngineOptions) -> ResultStore:
    """The result store that a URL names, as `open_broker`; "disabled" names none."""
    if url.partition(":")[0].lower() == "disabled":
        from celeriac.engines.disabled import DisabledResults

        return DisabledResults()
    return _engine(url, "result_backend").open_results(url, options)


def _engine(url: str, setting: str) -> _Engine:
    scheme = "memory" if url == ":memory:" else url.partition(":")[0].lower()
    module = _ENGINES.get(scheme)
    if module is not None:
        return cast(_Engine, import_module(module))
    known = ", ".join(f"{name}://" for name in sorted(_ENGINES))
    if scheme in _PLANNED:
        raise ConfigError(f"{setting}: this version of celeriac has no {scheme}:// engine yet; it serves {known}")
    near = difflib.get_close_matches(scheme, _ENGINES, n=1)
    hint = f"; did you mean {near[0]}://?" if near else ""
    raise ConfigError(f"{setting}: no engine serves {scheme!r} URLs; known are {known}{hint}")
