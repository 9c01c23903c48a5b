"""Cluster URLs: `redis+cluster://user:password@host:port,host:port/?option=value`; `rediss+cluster://` speaks TLS.

The hosts are seeds: any node that answers tells of all the others. Options are those of a single server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import asdict

from celeriac.engines.redis.cluster.slots import Endpoint
from celeriac.engines.redis.urls import Address
from celeriac.engines.redis.urls import parse as parse_single
from celeriac.exceptions import ConfigError

__all__ = ["ClusterAddress", "parse"]

_PORT = 6379


class ClusterAddress(Address, frozen=True):
    """Where a cluster is found, and how its nodes are talked to. Its text shows no secrets."""

    seeds: tuple[Endpoint, ...] = ()

    def __str__(self) -> str:
        user = f"{self.username or ''}{':********' if self.password else ''}@" if self.username or self.password else ""
        hosts = ",".join(f"{host}:{port}" for host, port in self.seeds)
        return f"{'redis' if self.tls is None else 'rediss'}+cluster://{user}{hosts}/"

    def node(self, endpoint: Endpoint) -> Address:
        """The address of one node."""
        common = {name: getattr(self, name) for name in Address.__struct_fields__}
        return Address(**{**common, "host": endpoint[0], "port": endpoint[1]})


def parse(
    url: str, options: Mapping[str, Any], timeout_s: float, tls: Mapping[str, Any] | None = None
) -> ClusterAddress:
    """The cluster that a URL and options name; raises `ConfigError` naming what is wrong."""
    scheme, _, rest = url.partition("://")
    end = next((index for index, sign in enumerate(rest) if sign in "/?#"), len(rest))
    user, at, hosts = rest[:end].rpartition("@")
    seeds = tuple(_seed(host) for host in hosts.split(",") if host) or (("localhost", _PORT),)
    host = f"[{seeds[0][0]}]" if ":" in seeds[0][0] else seeds[0][0]
    single = parse_single(
        f"{scheme.partition('+')[0]}://{user}{at}{host}:{seeds[0][1]}{rest[end:]}", options, timeout_s, tls
    )
    if single.database != 0:
        raise ConfigError(
            f"a Redis Cluster has database 0 alone, not {single.database}: use global_keyprefix to share it"
        )
    if "{" in single.key_prefix or "}" in single.key_prefix:
        raise ConfigError("global_keyprefix has no braces in a Redis Cluster: they decide where a key lies")
    return ClusterAddress(**asdict(single), seeds=seeds)


def _seed(text: str) -> Endpoint:
    try:
        parts = urlsplit(f"//{text}")
        return parts.hostname or "localhost", parts.port or _PORT
    except ValueError:
        raise ConfigError(
            "a cluster URL is redis+cluster://user:password@host:port,host:port/ with ports from 1 to 65535 "
            "(in a password, / is written %2F, @ %40 and ? %3F)"
        ) from None
