"""The Redis Cluster engine, `redis+cluster://host:port,host:port/`: each queue lies in one slot, with the usual scripts."""

from __future__ import annotations

from celeriac.engines.base import EngineOptions
from celeriac.exceptions import ConfigError

try:
    from celeriac.engines.redis.cluster.broker import ClusterBroker
    from celeriac.engines.redis.cluster.results import ClusterResults
    from celeriac.engines.redis.cluster.topology import Topology
    from celeriac.engines.redis.cluster.urls import parse
except ModuleNotFoundError as error:
    if error.name != "hiredis":
        raise
    raise ConfigError(
        "redis+cluster:// URLs need hiredis, which is not installed: pip install 'celeriac[redis]'"
    ) from None

__all__ = ["ClusterBroker", "ClusterResults", "open_broker", "open_results"]


def open_broker(url: str, options: EngineOptions) -> ClusterBroker:
    """The broker of the cluster that `url` names."""
    return ClusterBroker(_topology(url, options))


def open_results(url: str, options: EngineOptions) -> ClusterResults:
    """The result store of the cluster that `url` names."""
    return ClusterResults(_topology(url, options))


def _topology(url: str, options: EngineOptions) -> Topology:
    return Topology(parse(url, options.options, options.timeout_s, options.tls))
