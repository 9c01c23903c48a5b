"""The Redis engine (and Valkey): Celery's lists and result keys, made safe by scripts.

Needs the `redis` extra (hiredis). A real Celery producer, worker or monitor can share the server.
"""

from __future__ import annotations

from celeriac.engines.base import EngineOptions
from celeriac.exceptions import ConfigError

try:
    from celeriac.engines.redis import sentinel_urls, urls
    from celeriac.engines.redis.broker import RedisBroker
    from celeriac.engines.redis.client import Client
    from celeriac.engines.redis.results import RedisResults
except ModuleNotFoundError as error:
    if error.name != "hiredis":
        raise
    raise ConfigError("redis:// URLs need hiredis, which is not installed: pip install 'celeriac[redis]'") from None

__all__ = ["RedisBroker", "RedisResults", "open_broker", "open_results"]


def open_broker(url: str, options: EngineOptions) -> RedisBroker:
    """The broker of the database that `url` names."""
    return RedisBroker(_client(url, options))


def open_results(url: str, options: EngineOptions) -> RedisResults:
    """The result store of the database that `url` names."""
    return RedisResults(_client(url, options))


def _client(url: str, options: EngineOptions) -> Client:
    parse = sentinel_urls.parse if url.partition(":")[0].lower() in sentinel_urls.SCHEMES else urls.parse
    return Client(parse(url, options.options, options.timeout_s, options.tls))
