"""Settings of tasks: how they are sent, and what running them means. Most can be set for one task, too."""

from __future__ import annotations

from celeriac.settings.checks import anything, boolean, integer, number, optional, protocol, retry_policy, text
from celeriac.settings.setting import Setting, accepted, planned

__all__ = ["TASK"]

_MAYBE_SECONDS = optional(number(0))
_PUBLISH_RETRY = {"max_retries": 3, "interval_start": 0, "interval_max": 1, "interval_step": 0.2}

_FAILED = "a task that failed is finished; autoretry_for and retry() repeat it"
_QUEUES = "queues need no declaration here, and have no types"

TASK = (
    Setting("task_acks_late", True, boolean, "True: at least once, a lost run is repeated; False: at most once"),
    Setting(
        "task_reject_on_worker_lost",
        None,
        optional(boolean),
        "False: what a dead worker ran has failed, and is not repeated",
    ),
    Setting("task_retry_on_worker_lost", False, boolean, "what a dead worker ran is retried, as by retry()"),
    Setting(
        "task_acks_on_failure_or_timeout",
        True,
        boolean,
        "False: what passes its hard time limit is repeated, as at a crash",
    ),
    Setting("task_acks_on_timeout", None, optional(boolean), "the same; wins over it"),
    Setting("task_always_eager", False, boolean, "calls run the task at once, in the caller"),
    Setting("task_eager_propagates", False, boolean, "a task that is run so raises its error to the caller"),
    Setting("task_store_eager_result", False, boolean, "a task that is run so stores its result"),
    Setting("task_annotations", None, anything, "attributes to set on tasks, by name or *"),
    Setting("task_serializer", "json", text, "how arguments are written"),
    Setting("task_compression", None, optional(text), "how messages are compressed; none: not"),
    Setting("task_protocol", 2, protocol, "the version of Celery's message format"),
    Setting("task_routes", None, anything, "which task goes to which queue"),
    Setting("task_queues", None, anything, "the queues that workers serve; none is the default queue"),
    Setting("task_create_missing_queues", True, boolean, "a queue that task_queues does not list may be used too"),
    Setting("task_default_queue", "celery", text, "the queue of tasks that name none"),
    Setting("task_default_exchange", None, optional(text), "the exchange of queues that name none; none: the queue"),
    Setting("task_default_routing_key", None, optional(text), "the routing key of those; none: the queue"),
    Setting("task_default_priority", None, optional(integer(0, 9)), "0 to 9; 0 is served first"),
    Setting("task_inherit_parent_priority", False, boolean, "tasks that a task calls have its priority"),
    Setting("task_publish_retry", True, boolean, "repeat a publish that failed, within broker_connection_timeout"),
    Setting("task_publish_retry_policy", _PUBLISH_RETRY, retry_policy, "how often and when"),
    Setting("task_ignore_result", False, boolean, "keep no results"),
    Setting("task_store_errors_even_if_ignored", False, boolean, "keep failures of tasks whose results are ignored"),
    Setting("task_track_started", False, boolean, "store STARTED when a run begins"),
    Setting(
        "task_soft_time_limit", None, _MAYBE_SECONDS, "seconds after which SoftTimeLimitExceeded is raised in a run"
    ),
    Setting("task_time_limit", None, _MAYBE_SECONDS, "seconds after which a run is ended"),
    planned("task_default_rate_limit", None, anything, "how many runs in a time", "it has no rate limits"),
    planned("task_send_sent_event", False, boolean, "send an event for each publish", "it sends no events"),
    planned("task_allow_error_cb_on_chord_header", False, boolean, "chord headers have errbacks", "it has no chords"),
    accepted("task_acks_on_failure", None, optional(boolean), "a failed task is acknowledged", _FAILED, (True,)),
    accepted("task_create_missing_queue_type", "classic", anything, "the type of queues that are not listed", _QUEUES),
    accepted("task_create_missing_queue_exchange_type", None, anything, "the type of their exchanges", _QUEUES),
    accepted("task_default_queue_type", "classic", anything, "the type of the default queue", _QUEUES),
    accepted("task_default_exchange_type", "direct", anything, "the type of its exchange", _QUEUES),
    accepted("task_default_delivery_mode", 2, anything, "on disk or not", "messages are always kept", ("persistent",)),
    accepted("task_queue_max_priority", None, anything, "how many priorities", "every queue has 0 to 9"),
    accepted("task_remote_tracebacks", False, boolean, "pickle tracebacks", "they are kept as text, which get() shows"),
    accepted("task_repr_maxlevels", 3, anything, "depth of arguments in events", "they are cut by length"),
)
