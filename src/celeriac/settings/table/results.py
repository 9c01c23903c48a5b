"""Settings of results, and of Redis where it keeps them."""

from __future__ import annotations

from celeriac.settings.checks import Check, anything, boolean, integer, mapping, number, optional, text, tls, url
from celeriac.settings.setting import Setting, accepted, planned

__all__ = ["REDIS", "RESULT"]

_DAY_S = 86_400.0
_INFINITY = float("inf")
_MAYBE_SECONDS = optional(number(0))
_RETRIES = Check("a number of at least 0", lambda value: value if value == _INFINITY else number(0)(value))

_RPC = "it is about results sent through AMQP queues; here results lie in a store"
_STORE = "workers try for ever while the result store is away, and callers for broker_connection_timeout"
_CHORDS = "it has no chords"
_IN_URL = "write it into the result_backend URL"
_OPTION = "write it into result_backend_transport_options"
_OWN = "celeriac's own Redis client does not need it"

RESULT = (
    Setting("result_backend", None, optional(url), "where results are kept; none is the broker's store"),
    Setting("result_backend_transport_options", {}, mapping, "options of the result store's engine"),
    Setting("result_serializer", "json", text, "how results are written"),
    Setting("result_compression", None, optional(text), "how stored results are compressed; none: not"),
    Setting("result_expires", _DAY_S, _MAYBE_SECONDS, "seconds that results are kept (None or 0: for ever)"),
    Setting("result_failure_expires", None, _MAYBE_SECONDS, "the same for failures; none: as result_expires"),
    Setting("result_extended", False, boolean, "keep name, arguments, worker and queue with the result"),
    planned("result_chord_expires", None, _MAYBE_SECONDS, "seconds that a chord's count is kept", _CHORDS),
    planned("result_chord_retry_interval", 1.0, number(0), "seconds between looks at a chord's results", _CHORDS),
    planned("result_chord_join_timeout", 3.0, _MAYBE_SECONDS, "seconds to collect a chord's results", _CHORDS),
    accepted("result_cache_max", -1, anything, "results that a caller remembers", "callers read from the store"),
    accepted("result_exchange", "celeryresults", anything, "the exchange of results", _RPC),
    accepted("result_exchange_type", "direct", anything, "its type", _RPC),
    accepted("result_persistent", None, optional(boolean), "results survive the broker's restart", _RPC),
    accepted("result_backend_always_retry", False, boolean, "repeat what the result store failed at", _STORE, (True,)),
    accepted("result_backend_max_retries", _INFINITY, optional(_RETRIES), "how often", _STORE),
    accepted("result_backend_base_sleep_between_retries_ms", 10, integer(0), "the first pause, in ms", _STORE),
    accepted("result_backend_max_sleep_between_retries_ms", 10_000, integer(0), "the longest pause, in ms", _STORE),
)

REDIS = (
    Setting("redis_backend_use_ssl", None, tls, "TLS to a result store on Redis of its own: True, or its options"),
    accepted("redis_host", None, anything, "the server that keeps results", _IN_URL),
    accepted("redis_port", None, anything, "its port", _IN_URL),
    accepted("redis_db", None, anything, "the number of its database", _IN_URL),
    accepted("redis_username", None, anything, "the user", _IN_URL),
    accepted("redis_password", None, anything, "the password", _IN_URL),
    accepted(
        "redis_max_connections", None, optional(integer(1)), "connections at most", f"{_OPTION} as max_connections"
    ),
    accepted("redis_socket_timeout", 120.0, _MAYBE_SECONDS, "seconds for an answer", f"{_OPTION} as socket_timeout"),
    accepted(
        "redis_socket_connect_timeout",
        None,
        _MAYBE_SECONDS,
        "seconds to connect",
        f"{_OPTION} as socket_connect_timeout",
    ),
    accepted("redis_retry_on_timeout", False, boolean, "repeat a command that timed out", _OWN),
    accepted("redis_socket_keepalive", False, boolean, "the system watches idle connections", _OWN, (True,)),
)
