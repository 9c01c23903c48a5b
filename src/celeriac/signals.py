"""Signals: what happens in the application and its workers, announced to whoever has connected.

    @task_prerun.connect
    def note(sender, task_id, task, args, kwargs, **more): ...

    @after_task_publish.connect(sender="proj.add")
    def published(sender, headers, **more): ...

Where a signal is sent, its arguments are made only if somebody listens: `if task_prerun.receivers: task_prerun.send(...)`
costs a truth test of a tuple otherwise. The names and arguments are Celery's.
"""

from __future__ import annotations

from celeriac.dispatch import Signal

__all__ = [
    "Signal",
    "before_task_publish",
    "after_task_publish",
    "task_received",
    "task_prerun",
    "task_postrun",
    "task_success",
    "task_retry",
    "task_failure",
    "task_internal_error",
    "task_revoked",
    "task_rejected",
    "task_unknown",
    "celeryd_init",
    "celeryd_after_setup",
    "worker_init",
    "worker_before_create_process",
    "worker_process_init",
    "worker_process_shutdown",
    "worker_ready",
    "worker_shutting_down",
    "worker_shutdown",
    "heartbeat_sent",
    "setup_logging",
    "after_setup_logger",
    "after_setup_task_logger",
    "beat_init",
    "beat_embedded_init",
    "eventlet_pool_started",
    "eventlet_pool_preshutdown",
    "eventlet_pool_postshutdown",
    "eventlet_pool_apply",
]

# ── publishing; the sender is the task's name ────────────────────────────────────────────────────────────────────────

before_task_publish = Signal(
    ("body", "exchange", "routing_key", "headers", "properties", "declare", "retry_policy"), name="before_task_publish"
)
after_task_publish = Signal(("body", "exchange", "routing_key", "headers"), name="after_task_publish")
#: Celery's older form of `after_task_publish`, which it still sends.
task_sent = Signal(("task_id", "task", "args", "kwargs", "eta", "taskset"), name="task_sent")

# ── a run; the sender is the task, or the worker's consumer where there is none yet ──────────────────────────────────

task_received = Signal(("request",), name="task_received")
task_prerun = Signal(("task_id", "task", "args", "kwargs"), name="task_prerun")
task_postrun = Signal(("task_id", "task", "args", "kwargs", "retval", "state"), name="task_postrun")
task_success = Signal(("result", "runtime"), name="task_success")
task_retry = Signal(("request", "reason", "einfo"), name="task_retry")
task_failure = Signal(("task_id", "exception", "args", "kwargs", "traceback", "einfo"), name="task_failure")
task_internal_error = Signal(
    ("task_id", "args", "kwargs", "request", "exception", "traceback", "einfo"), name="task_internal_error"
)
task_revoked = Signal(("request", "terminated", "signum", "expired"), name="task_revoked")
task_rejected = Signal(("message", "exc"), name="task_rejected")
task_unknown = Signal(("message", "exc", "name", "id"), name="task_unknown")

# ── the worker ───────────────────────────────────────────────────────────────────────────────────────────────────────

celeryd_init = Signal(("instance", "conf", "options"), name="celeryd_init")
celeryd_after_setup = Signal(("instance", "conf"), name="celeryd_after_setup")
import_modules = Signal(name="import_modules")
worker_init = Signal(name="worker_init")
worker_before_create_process = Signal(name="worker_before_create_process")
worker_process_init = Signal(name="worker_process_init")
worker_process_shutdown = Signal(("pid", "exitcode"), name="worker_process_shutdown")
worker_ready = Signal(name="worker_ready")
worker_shutting_down = Signal(("sig", "how", "exitcode"), name="worker_shutting_down")
worker_shutdown = Signal(name="worker_shutdown")
heartbeat_sent = Signal(name="heartbeat_sent")

# ── logging ──────────────────────────────────────────────────────────────────────────────────────────────────────────

setup_logging = Signal(("loglevel", "logfile", "format", "colorize"), name="setup_logging")
after_setup_logger = Signal(("logger", "loglevel", "logfile", "format", "colorize"), name="after_setup_logger")
after_setup_task_logger = Signal(
    ("logger", "loglevel", "logfile", "format", "colorize"), name="after_setup_task_logger"
)

# ── the scheduler, the command line, and pools of Celery's that other software connects to ───────────────────────────

beat_init = Signal(name="beat_init")
beat_embedded_init = Signal(name="beat_embedded_init")
user_preload_options = Signal(("app", "options"), name="user_preload_options")
eventlet_pool_started = Signal(name="eventlet_pool_started")
eventlet_pool_preshutdown = Signal(name="eventlet_pool_preshutdown")
eventlet_pool_postshutdown = Signal(name="eventlet_pool_postshutdown")
eventlet_pool_apply = Signal(("target", "args", "kwargs"), name="eventlet_pool_apply")
