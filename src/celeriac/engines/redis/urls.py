"""Redis URLs and options: `redis://user:password@host:port/db?option=value`, `rediss://`, `unix://`, and `valkey` for each.

Options stand in the URL or in `broker_transport_options` / `result_backend_transport_options`, by Celery's names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import msgspec

from celeriac.exceptions import ConfigError

__all__ = ["SCHEMES", "Address", "Sentinels", "number", "parse", "query_options", "split", "whole"]

SCHEMES = frozenset({"redis", "rediss", "unix", "redis+socket", "valkey", "valkeys", "valkey+socket"})
_TLS = frozenset({"rediss", "valkeys"})
_SOCKET = frozenset({"unix", "redis+socket", "valkey+socket"})

#: Options that change what we do.
_ACTED_ON = frozenset(
    {"global_keyprefix", "socket_timeout", "socket_connect_timeout", "health_check_interval", "max_connections"}
    | {"client_name", "db", "virtual_host", "visibility_timeout", "publish_replicas"}
    | {"ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname", "ssl_keyfile_password"}
)
#: Celery's options for things that work differently here, accepted and without effect.
_WITHOUT_EFFECT = frozenset(
    {
        "ack_emulation",
        "unacked_key",
        "unacked_index_key",
        "unacked_mutex_key",
        "unacked_mutex_expire",
        "polling_interval",
    }
    | {"unacked_restore_limit", "fanout_prefix", "fanout_patterns", "priority_steps", "sep", "queue_order_strategy"}
    | {"socket_keepalive", "socket_keepalive_options", "retry_on_timeout", "body_encoding", "deadletter_queue"}
    | {"max_retries", "interval_start", "interval_step", "interval_max", "retry_policy"}
)

_SECRET = frozenset({"username", "password", "tls"})


class Sentinels(msgspec.Struct, frozen=True):
    """Who knows where the master is, and the name by which they know it."""

    master_name: str
    sentinels: tuple[Address, ...]
    #: A sentinel that sees fewer others is not believed (Celery's `min_other_sentinels`).
    least_others: int = 0


class Address(msgspec.Struct, frozen=True):
    """Where a server is and how to talk to it. Its text shows no secrets."""

    host: str = "localhost"
    port: int = 6379
    path: str | None = None
    database: int = 0
    username: str | None = None
    password: str | None = None
    tls: Mapping[str, str] | None = None
    key_prefix: str = ""
    timeout_s: float = 4.0
    connect_timeout_s: float = 4.0
    client_name: str | None = None
    max_connections: int = 10
    #: A connection that was idle for longer is opened anew (Celery's `health_check_interval`).
    trusted_idle_s: float = 25.0
    #: For how long a peer's unacknowledged message is left alone (Celery's `visibility_timeout`).
    visibility_timeout_s: float = 3600.0
    #: How many replicas must have a message before its publish returns.
    publish_replicas: int = 0
    #: They are asked where the server is; host and port then mean nothing.
    sentinels: Sentinels | None = None

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name not in _SECRET)
        return f"{type(self).__name__}({', '.join(shown)})"

    def __str__(self) -> str:
        user = f"{self.username or ''}{':********' if self.password else ''}@" if self.username or self.password else ""
        if self.sentinels is not None:
            hosts = ";".join(f"{sentinel.host}:{sentinel.port}" for sentinel in self.sentinels.sentinels)
            return f"sentinel://{user}{hosts}/{self.database}?master_name={self.sentinels.master_name}"
        if self.path is not None:
            return f"unix://{user}{self.path}?db={self.database}"
        return f"{'redis' if self.tls is None else 'rediss'}://{user}{self.host}:{self.port}/{self.database}"

    @property
    def server(self) -> str:
        """The server without the database, for comparing addresses."""
        if self.sentinels is not None:
            hosts = sorted(f"{sentinel.host}:{sentinel.port}" for sentinel in self.sentinels.sentinels)
            return f"{self.sentinels.master_name} of {';'.join(hosts)}"
        return self.path if self.path is not None else f"{self.host}:{self.port}"


def parse(url: str, options: Mapping[str, Any], timeout_s: float, tls: Mapping[str, Any] | None = None) -> Address:
    """The address that a URL and options name; raises `ConfigError` naming what is wrong.

    `tls` are TLS options from outside of the URL (`broker_use_ssl`): given, they ask for TLS whatever the scheme.
    """
    parts = split(url)
    scheme = parts.scheme.lower()
    given = {**query_options(parts.query), **options, **(tls or {})}
    unknown = given.keys() - _ACTED_ON - _WITHOUT_EFFECT
    if unknown:
        raise ConfigError(f"redis has no option {', '.join(sorted(unknown))}; it knows {', '.join(sorted(_ACTED_ON))}")
    port = parts.port or 6379
    socket_path = unquote(parts.path) if scheme in _SOCKET else None
    if scheme in _SOCKET and not socket_path:
        raise ConfigError("a unix:// URL needs a path: unix:///run/redis/redis.sock?db=0")
    database = given.get("db", given.get("virtual_host", 0 if scheme in _SOCKET else parts.path.strip("/") or 0))
    return Address(
        host=parts.hostname or "localhost",
        port=port,
        path=socket_path,
        database=whole("db", str(database).strip("/"), 0),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=_tls(given) if scheme in _TLS or tls is not None else None,
        key_prefix=str(given.get("global_keyprefix", "")),
        timeout_s=number("socket_timeout", given.get("socket_timeout") or timeout_s),
        connect_timeout_s=number("socket_connect_timeout", given.get("socket_connect_timeout") or timeout_s),
        client_name=given.get("client_name"),
        max_connections=whole("max_connections", given.get("max_connections") or 10, 1),
        trusted_idle_s=number("health_check_interval", given.get("health_check_interval") or 25),
        publish_replicas=whole("publish_replicas", given.get("publish_replicas") or 0, 0),
        visibility_timeout_s=number("visibility_timeout", given.get("visibility_timeout") or 3600),
    )


def _tls(given: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in given.items() if name.startswith("ssl_") and value is not None}


def split(url: str) -> SplitResult:
    """The parts of the URL. What is wrong is said without showing any of it: it may be a piece of the password."""
    try:
        parts = urlsplit(url)
        path_is_odd = parts.scheme.lower() not in _SOCKET and "@" in parts.path
    except ValueError:
        raise ConfigError("the redis URL has brackets that are no IPv6 address") from None
    if path_is_odd or parts.fragment:
        raise ConfigError("write /, ?, # and @ in the user or password of a redis URL as %2F, %3F, %23 and %40")
    try:
        _ = parts.port
    except ValueError:
        raise ConfigError(
            "the port in the redis URL is not a number from 1 to 65535 (in a password, / is written %2F and ? %3F)"
        ) from None
    if parts.scheme.lower() in _SOCKET and parts.hostname:
        raise ConfigError("a unix:// URL has three slashes before its path: unix:///run/redis/redis.sock?db=0")
    return parts


def query_options(query: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(query, strict_parsing=True)) if query else {}
    except ValueError:
        raise ConfigError(
            "options in a redis URL are ?name=value&name=value (in a password, ? is written %3F)"
        ) from None


def number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < math.inf:
        raise ConfigError(f"redis option {name} must be a number of at least 0, not {value!r}")
    return number


def whole(name: str, value: Any, least: int) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = -1
    if number < least:
        raise ConfigError(f"redis option {name} must be a whole number of at least {least}, not {value!r}")
    return number
