"""Signals, exceptions and states."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import celeriac
from celeriac import exceptions, states
from names.section import Section

__all__ = ["EXCEPTIONS", "SIGNALS", "STATES"]

_CELERY_ALIAS = "with the celery alias, for code that names Celery's own parts"


@cache
def _sent() -> frozenset[str]:
    """The signals that some module sends."""
    source = Path(celeriac.__file__).parent
    return frozenset(
        name
        for file in source.rglob("*.py")
        if file.name != "signals.py"
        for name in re.findall(r"(?:signals\.|announce\(\")(\w+)\b", file.read_text())
    )


SIGNALS = Section(
    "signals",
    works={
        "test_a_publish_is_announced_before_and_after": "before_task_publish after_task_publish task_sent",
        "test_a_run_is_announced_from_its_receipt_to_its_end": (
            "task_received task_prerun task_postrun task_success task_failure"
        ),
        "test_a_retry_is_announced_and_waits_the_tasks_default_delay": "task_retry",
        "test_a_worker_calls_and_announces_the_same": "task_internal_error",
        "test_the_signals_of_a_worker_and_their_arguments_are_celerys": (
            "celeryd_init celeryd_after_setup worker_init worker_process_init worker_process_shutdown worker_ready "
            "worker_shutting_down worker_shutdown"
        ),
        "test_a_child_is_announced_before_it_is_forked": "worker_before_create_process",
        "test_receivers_of_setup_logging_leave_everything_to_them": "setup_logging",
        "test_receivers_may_add_to_what_was_set_up": "after_setup_logger after_setup_task_logger",
        "test_modules_are_announced_before_they_are_discovered": "import_modules",
        "test_what_is_not_run_is_announced": "task_revoked task_unknown task_rejected",
    },
    accepted={
        "can be connected to; there are no greenlet pools": (
            "eventlet_pool_started eventlet_pool_preshutdown eventlet_pool_postshutdown eventlet_pool_apply"
        ),
    },
    planned={
        "with plug-ins of the command line": "user_preload_options",
        "with events": "heartbeat_sent",
        "with the scheduler": "beat_init beat_embedded_init",
    },
    internal={"the class of signals": "Signal"},
    has=lambda name: name in _sent(),
    celery="public(celery.signals)",
)

EXCEPTIONS = Section(
    "exceptions",
    works={
        "test_celerys_names_are_the_same_classes": "CeleryError ImproperlyConfigured BackendError",
        "test_names_of_exceptions_that_stand_for_others": "CeleryWarning RetryTaskError",
        "test_an_error_is_also_what_it_resembles": "TaskPredicate TaskError",
        "test_retry_at_a_time_is_due_then": "Retry",
        "test_ignore_and_reject_end_a_run_without_a_result": "Ignore Reject",
        "test_what_celery_would_lose_is_an_error": "QueueNotFound",
        "test_the_tasks_that_a_task_called_are_found_from_its_result": "IncompleteStream",
        "test_without_a_near_name_all_are_told": "NotRegistered",
        "test_what_is_wrong_with_tasks_has_an_exception_of_its_own": (
            "AlreadyRegistered AlwaysEagerIgnored DuplicateTaskNameWarning InvalidTaskError"
        ),
        "test_a_timeout_names_the_task_and_its_state": "TimeoutError",
        "test_the_last_retry_without_a_reason_says_so": "MaxRetriesExceededError",
        "test_a_revoked_task_raises": "TaskRevokedError",
        "test_the_policy_ends_the_tries": "OperationalError",
        "test_a_run_that_had_begun_elsewhere_does_not_begin_again": "WorkerLostError",
        "test_a_plain_task_gets_its_soft_limit_and_the_worker_goes_on": "SoftTimeLimitExceeded",
        "test_a_hard_limit_ends_any_plain_task_once_and_for_all": "TimeLimitExceeded",
        "test_terminate_ends_a_run_in_every_pool": "Terminated",
    },
    planned={
        "with signed messages": "SecurityError SecurityWarning",
        "with workflows": "ChordError",
        "with remote control": "DuplicateNodenameWarning WorkerShutdown WorkerTerminate SystemTerminate",
        _CELERY_ALIAS: (
            "BackendGetMetaError BackendStoreError CDeprecationWarning CPendingDeprecationWarning CeleryCommandException "
            "FixupWarning NotConfigured"
        ),
    },
    internal={"a helper of Python 2": "reraise"},
    has=lambda name: hasattr(exceptions, name),
    celery="celery.exceptions.__all__",
)

STATES = Section(
    "states",
    works={
        "test_an_unknown_id_is_pending": "PENDING",
        "test_the_names_are_celerys": "RECEIVED SUCCESS FAILURE",
        "test_started_is_reported_where_that_is_wanted": "STARTED",
        "test_a_retry_is_a_state_of_its_own_until_the_next_try": "RETRY",
        "test_an_expired_message_is_revoked": "REVOKED",
        "test_ignore_and_reject_end_a_run_without_a_result": "IGNORED REJECTED",
        "test_a_task_has_ended_or_it_has_not": "READY_STATES UNREADY_STATES",
        "test_only_final_exceptions_are_raised_by_get": "EXCEPTION_STATES PROPAGATE_STATES",
        "test_the_states_are_told_apart": "ALL_STATES",
    },
    internal={
        "which of two events is later, for monitors": "NONE_PRECEDENCE PRECEDENCE PRECEDENCE_LOOKUP precedence state"
    },
    has=lambda name: hasattr(states, name),
    celery="public(celery.states)",
)
