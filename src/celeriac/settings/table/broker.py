"""Settings of the broker and its connection."""

from __future__ import annotations

from celeriac.settings.checks import anything, boolean, integer, mapping, number, optional, tls, url
from celeriac.settings.setting import Setting, accepted

__all__ = ["BROKER"]

_IN_URL = "write it into broker_url, which alone says where the broker is"
_ALWAYS = "celeriac tries for ever, with growing pauses"
_POOL = "each process opens the few connections that it needs"
_AMQP = "it is about AMQP connections, and this version has no AMQP broker"
_ONE = "must be the same as broker_url"

BROKER = (
    Setting("broker_url", None, optional(url), "the broker; none is a file in the project's .celeriac folder"),
    Setting("broker_read_url", None, optional(url), f"the broker that workers take tasks from; {_ONE}"),
    Setting("broker_write_url", None, optional(url), f"the broker that tasks are sent to; {_ONE}"),
    Setting("broker_transport_options", {}, mapping, "options of the broker's engine"),
    Setting("broker_connection_timeout", 4.0, number(0.05), "seconds for a call to the broker to succeed or fail"),
    Setting("broker_use_ssl", False, tls, "TLS to the broker, as rediss:// does: True, or its options"),
    accepted("broker_transport", None, anything, "which kind of broker", "the scheme of broker_url says it"),
    accepted("broker_connection_retry", True, boolean, "connect again after a loss", _ALWAYS),
    accepted("broker_connection_retry_on_startup", None, optional(boolean), "the same at the start", _ALWAYS, (True,)),
    accepted("broker_connection_max_retries", 100, optional(integer(0)), "how often", _ALWAYS, (None, 0)),
    accepted("broker_channel_error_retry", False, boolean, "the same after errors of a channel", _ALWAYS, (True,)),
    accepted("broker_failover_strategy", None, anything, "in which order brokers are tried", "there is one broker_url"),
    accepted("broker_heartbeat", 120, optional(number(0)), "seconds between signs of life", _AMQP, (0, None)),
    accepted("broker_heartbeat_checkrate", 3.0, number(0), "how often these are looked at", _AMQP),
    accepted("broker_login_method", None, anything, "how to log in", _AMQP),
    accepted("broker_native_delayed_delivery_queue_type", "quorum", anything, "the queues that delay tasks", _AMQP),
    accepted("broker_pool_limit", 10, optional(integer(0)), "connections of a process", _POOL),
    accepted("broker_pool_acquire_timeout", None, optional(number(0)), "seconds to wait for one of them", _POOL),
    accepted("broker_host", None, anything, "a part of the URL", _IN_URL),
    accepted("broker_port", None, anything, "a part of the URL", _IN_URL),
    accepted("broker_user", None, anything, "a part of the URL", _IN_URL),
    accepted("broker_password", None, anything, "a part of the URL", _IN_URL),
    accepted("broker_vhost", None, anything, "a part of the URL", _IN_URL),
)
