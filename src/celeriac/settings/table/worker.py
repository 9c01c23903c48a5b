"""Settings of workers: pool, logs, stopping."""

from __future__ import annotations

from celeriac.settings.checks import anything, boolean, concurrency, integer, level, number, optional, pool, text
from celeriac.settings.setting import Setting, accepted, planned

__all__ = ["WORKER"]

_LOG_FORMAT = "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s"
_TASK_LOG_FORMAT = "[%(asctime)s: %(levelname)s/%(processName)s] %(task_name)s[%(task_id)s]: %(message)s"

_HOARDS = "a worker holds only what it can start within milliseconds"
_GRACE = "running tasks have worker_shutdown_grace seconds at a stop"
_PARTS = "workers are not put together from replaceable classes"
_PROCESSES = "children are forked from a template process, which replaces them when they die"
_LEASES = "tasks are leased, so a lost connection loses none"
_LIMITS = "it has no rate limits"
_CONTROL = "it has no remote control"
_AMQP = "it is about AMQP brokers"

WORKER = (
    Setting("worker_pool", "prefork", pool, "how tasks run: child processes, this process, threads, or an event loop"),
    Setting(
        "worker_concurrency", None, optional(concurrency), 'tasks at a time; none or "auto": one for each processor'
    ),
    Setting("worker_max_tasks_per_child", None, optional(integer(1)), "runs after which a child process is replaced"),
    Setting("worker_max_memory_per_child", None, optional(integer(1)), "KiB beyond which a child process is replaced"),
    Setting("revoke_expires", 86_400.0, number(1), "seconds for which the store remembers that a task is revoked"),
    Setting("worker_lease", 15.0, number(0.5), "seconds after which a silent worker counts as dead"),
    Setting("worker_shutdown_grace", 25.0, number(0), "seconds that running tasks have to finish at a stop"),
    Setting("worker_log_format", _LOG_FORMAT, text, "the worker's log lines"),
    Setting("worker_log_datefmt", None, optional(text), "the time in them, as strftime writes it"),
    Setting("worker_task_log_format", _TASK_LOG_FORMAT, text, "the log lines of get_task_logger()"),
    Setting("worker_task_log_datefmt", None, optional(text), "the time in these"),
    Setting("worker_log_color", None, optional(boolean), "coloured log lines; none: on a terminal"),
    Setting("worker_hijack_root_logger", True, boolean, "the worker sets up the root logger"),
    Setting("worker_redirect_stdouts", True, boolean, "what tasks print goes to the log"),
    Setting("worker_redirect_stdouts_level", "WARNING", level, "at this level"),
    planned("worker_autoscaler", "celery.worker.autoscale:Autoscaler", anything, "who scales", "it does not scale"),
    planned("worker_disable_rate_limits", False, boolean, "run without rate limits", _LIMITS, (True,)),
    planned("worker_enable_remote_control", True, boolean, "answer remote control", _CONTROL, (False,)),
    planned("worker_pool_restarts", False, boolean, "restart the pool by remote control", _CONTROL),
    planned("worker_state_db", None, optional(text), "the file that keeps which tasks are revoked", _CONTROL),
    planned("worker_send_task_events", False, boolean, "send events of tasks", "it sends no events"),
    accepted("worker_prefetch_multiplier", 4, integer(0), "messages taken early for each slot", _HOARDS, (1,)),
    accepted("worker_disable_prefetch", False, boolean, "take no messages early", _HOARDS, (True,)),
    accepted("worker_eta_task_limit", None, optional(integer(0)), "delayed tasks held", "they wait in the store"),
    accepted("worker_enable_prefetch_count_reduction", True, boolean, "take fewer after a lost connection", _HOARDS),
    accepted("worker_soft_shutdown_timeout", 0.0, number(0), "seconds before a cold shutdown", _GRACE),
    accepted("worker_enable_soft_shutdown_on_idle", False, boolean, "the same with nothing running", _GRACE),
    accepted("worker_cancel_long_running_tasks_on_connection_loss", False, boolean, "end runs then", _LEASES),
    accepted("worker_deduplicate_successful_tasks", False, boolean, "skip what has run", _LEASES, (True,)),
    accepted("worker_lost_wait", 10.0, number(0), "seconds to wait for a dead child's result", _PROCESSES),
    accepted("worker_proc_alive_timeout", 4.0, number(0), "seconds for a child to start", _PROCESSES),
    accepted("worker_pool_putlocks", True, boolean, "hand out tasks only to free children", _PROCESSES),
    accepted("worker_pool_start_method", "fork", anything, "fork or spawn", _PROCESSES),
    accepted(
        "worker_direct", False, boolean, "a queue for each worker", "start the worker with a queue of its own, -Q"
    ),
    accepted("worker_agent", None, anything, "the class of an agent", _PARTS),
    accepted("worker_consumer", "celery.worker.consumer:Consumer", anything, "the class that consumes", _PARTS),
    accepted("worker_timer", None, anything, "the class of the timer", _PARTS),
    accepted("worker_timer_precision", 1.0, number(0), "seconds between its looks", _PARTS),
    accepted("worker_detect_quorum_queues", True, boolean, "adapt to quorum queues", _AMQP),
)
