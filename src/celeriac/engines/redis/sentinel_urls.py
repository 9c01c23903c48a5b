"""Sentinel URLs: `sentinel://a:26379;sentinel://b:26379/0`, and the options `master_name`, `sentinel_kwargs` and others.

User, password and database are those of the Redis servers; what the sentinels themselves ask for stands in
`sentinel_kwargs`. `rediss+sentinel://`, or `broker_use_ssl`, is TLS to the Redis servers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlunsplit

from msgspec.structs import replace

from celeriac.engines.redis import urls
from celeriac.engines.redis.urls import Address, Sentinels
from celeriac.exceptions import ConfigError

__all__ = ["SCHEMES", "parse"]

SCHEMES = frozenset({"sentinel", "redis+sentinel", "rediss+sentinel"})
_PORT = 26379
_OPTIONS = frozenset({"master_name", "min_other_sentinels", "sentinel_kwargs", "sentinel_fanout_compat"})
#: What redis-py takes for the connections to the sentinels and what changes nothing here.
_WITHOUT_EFFECT = frozenset(
    {"db", "client_name", "decode_responses", "encoding", "encoding_errors", "health_check_interval", "protocol"}
    | {"retry", "retry_on_error", "retry_on_timeout", "socket_keepalive", "socket_keepalive_options"}
)


def parse(url: str, options: Mapping[str, Any], timeout_s: float, tls: Mapping[str, Any] | None = None) -> Address:
    """The address that a list of sentinels and options name; raises `ConfigError` naming what is wrong."""
    scheme = url.partition(":")[0]
    parts = [urls.split(_with_scheme(chunk, scheme)) for chunk in url.split(";")]
    given: dict[str, Any] = {}
    for part in parts:
        given.update(urls.query_options(part.query))
    given.update(options)
    ours = {name: given.pop(name) for name in _OPTIONS & given.keys()}
    master_name = ours.get("master_name")
    if not master_name:
        raise ConfigError(
            "a sentinel:// URL needs the name by which the sentinels know the master: broker_transport_options = "
            "{'master_name': 'mymaster'}, for results result_backend_transport_options, or ?master_name= in the URL"
        )
    # One server of this URL stands for whichever is the master.
    server = urls.parse(_server_url(parts, given), given, timeout_s, {} if scheme.startswith("rediss") else tls)
    group = Sentinels(
        str(master_name),
        _sentinels(parts, server, ours.get("sentinel_kwargs") or {}),
        urls.whole("min_other_sentinels", ours.get("min_other_sentinels") or 0, 0),
    )
    return replace(server, sentinels=group)


def _with_scheme(chunk: str, scheme: str) -> str:
    """The scheme may be left out but in the first."""
    if "://" not in chunk:
        return f"{scheme}://{chunk}"
    if chunk.partition(":")[0] != scheme:
        raise ConfigError(
            f"a list of sentinels is {scheme}://host:port;{scheme}://host:port/0 (in a password, ; is written %3B)"
        )
    return chunk


def _server_url(parts: list[SplitResult], given: Mapping[str, Any]) -> str:
    logins = {part.netloc.rpartition("@")[0] for part in parts} - {""}
    if len(logins) > 1:
        raise ConfigError(
            "the sentinels of the URL have different users or passwords: they are those of the one master"
        )
    databases = {part.path.strip("/") for part in parts} - {""}
    if len(databases) > 1:
        raise ConfigError(f"the sentinels of the URL have different databases ({', '.join(sorted(databases))})")
    if databases - {"0"} and not parts[0].path.strip("/") and not given.keys() & {"db", "virtual_host"}:
        # Celery's broker reads the first, its result store each: in silence they would not meet.
        raise ConfigError("write the database behind the first sentinel of the URL too: Celery reads it there")
    login = f"{logins.pop()}@" if logins else ""
    return urlunsplit(("redis", f"{login}localhost", databases.pop() if databases else "", "", ""))


def _sentinels(parts: list[SplitResult], server: Address, options: Mapping[str, Any]) -> tuple[Address, ...]:
    tls = {name: str(value) for name, value in options.items() if name.startswith("ssl_")}
    known = {"username", "password", "ssl", "socket_timeout", "socket_connect_timeout"}
    unknown = options.keys() - known - tls.keys() - _WITHOUT_EFFECT
    if unknown:
        raise ConfigError(
            f"sentinel_kwargs has no {', '.join(sorted(unknown))}; it knows {', '.join(sorted(known))}, ssl_..."
        )
    timeout_s = urls.number(
        "socket_timeout", options.get("socket_timeout") or server.connect_timeout_s / (len(parts) + 1)
    )
    return tuple(
        Address(
            part.hostname or "localhost",
            part.port or _PORT,
            username=options.get("username"),
            password=options.get("password"),
            tls=tls if options.get("ssl") else None,
            timeout_s=timeout_s,
            connect_timeout_s=urls.number("socket_connect_timeout", options.get("socket_connect_timeout") or timeout_s),
        )
        for part in parts
    )
