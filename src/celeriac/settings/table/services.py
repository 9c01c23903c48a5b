"""Settings of what later versions add: periodic tasks, events, remote control, signed messages."""

from __future__ import annotations

from celeriac.settings.checks import anything, boolean, integer, mapping, number, optional, text
from celeriac.settings.setting import planned

__all__ = ["BEAT", "CONTROL", "EVENT", "SECURITY"]

_MAYBE_SECONDS = optional(number(0))
_BEAT = "it runs no periodic tasks"
_CONTROL = "it has no remote control"
_EVENTS = "it sends no events"
_SECURITY = "it does not sign messages"

BEAT = (
    planned("beat_schedule", {}, mapping, "periodic tasks by name", _BEAT),
    planned("beat_scheduler", "celery.beat:PersistentScheduler", anything, "the class of the scheduler", _BEAT),
    planned("beat_schedule_filename", "celerybeat-schedule", text, "the file that keeps when entries ran", _BEAT),
    planned("beat_max_loop_interval", 0, number(0), "seconds between looks at most; 0: the scheduler decides", _BEAT),
    planned("beat_sync_every", 0, integer(0), "tasks between writes of the file; 0: by time", _BEAT),
    planned("beat_cron_starting_deadline", None, _MAYBE_SECONDS, "seconds a missed run may be made up for", _BEAT),
    planned("beat_enable_remote_control", False, boolean, "the scheduler answers pings", _BEAT),
    planned("beat_remote_control_max_tick_age", None, _MAYBE_SECONDS, "seconds without a look: no answers", _BEAT),
)

CONTROL = (
    planned("control_exchange", "celery", text, "the exchange of remote control", _CONTROL),
    planned("control_queue_ttl", 300.0, _MAYBE_SECONDS, "seconds that its messages live", _CONTROL),
    planned("control_queue_expires", 10.0, _MAYBE_SECONDS, "seconds that an unused queue of it lives", _CONTROL),
    planned("control_queue_exclusive", True, boolean, "one process to a queue of it", _CONTROL),
    planned("control_queue_durable", False, boolean, "its queues survive the broker's restart", _CONTROL),
)

EVENT = (
    planned("event_exchange", "celeryev", text, "the exchange of events", _EVENTS),
    planned("event_serializer", "json", text, "how events are written", _EVENTS),
    planned("event_queue_prefix", "celeryev", text, "how the names of event queues begin", _EVENTS),
    planned("event_queue_ttl", 5.0, _MAYBE_SECONDS, "seconds that events wait for a reader", _EVENTS),
    planned("event_queue_expires", 60.0, _MAYBE_SECONDS, "seconds that an unused queue of events lives", _EVENTS),
    planned("event_queue_exclusive", True, boolean, "one process to a queue of events", _EVENTS),
    planned("event_queue_durable", False, boolean, "event queues survive the broker's restart", _EVENTS),
)

SECURITY = (
    planned("security_key", None, anything, "the file with the private key that signs messages", _SECURITY),
    planned("security_key_password", None, anything, "its password", _SECURITY),
    planned("security_certificate", None, anything, "the file with the certificate of that key", _SECURITY),
    planned("security_cert_store", None, anything, "the folder of certificates that are trusted", _SECURITY),
    planned("security_digest", "sha256", text, "the digest that is signed", _SECURITY),
)
