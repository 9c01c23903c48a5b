"""Tasks: their options and methods, and what a run sees."""

from __future__ import annotations

import inspect

from celeriac import Celery, Task
from celeriac.request import Context
from celeriac.task.options import OPTIONS
from names.section import Section

__all__ = ["REQUEST", "TASK", "TASK_OPTIONS"]

TASK = Section(
    "task",
    works={
        "test_delay_sends_its_arguments": "delay",
        "test_the_id_is_the_callers_if_one_is_given": "apply_async",
        "test_handlers_are_called_in_celerys_order_with_celerys_arguments": (
            "apply before_start on_success on_failure on_retry after_return"
        ),
        "test_a_class_hears_when_a_task_of_it_is_bound": "on_bound",
        "test_a_class_may_name_its_calls": "shadow_name",
        "test_another_task_takes_the_place_of_one_that_replaces_itself": "replace on_replace",
        "test_retry_at_a_time_is_due_then": "retry",
        "test_the_last_retry_without_a_reason_says_so": "MaxRetriesExceededError",
        "test_the_policy_ends_the_tries": "OperationalError",
        "test_a_signature_holds_a_call": "s si signature subtask",
        "test_a_run_can_be_made_a_signature_of": "signature_from_request",
        "test_a_result_is_found_again_by_its_id": "AsyncResult",
        "test_update_state_with_an_id_stores_at_once": "update_state",
        "test_the_request_tells_of_the_run": "request",
        "test_task_classes_are_the_applications_or_the_tasks_own": "run app",
    },
    planned={
        "with workflows": "add_to_chord map starmap chunks",
        "with events": "send_event",
        "with the celery alias: deprecated in Celery": "subtask_from_request",
    },
    internal={
        "how Celery runs tasks": "push_request pop_request request_stack start_strategy add_trail add_around",
        "how Celery sets tasks up": "annotate bind from_config",
    },
    has=lambda name: hasattr(Task, name),
    celery=(
        "[name for name in public(celery.Task) if name not in dict(celery.Task.from_config) and (callable(getattr("
        "celery.Task, name)) or name in ('request', 'app', 'request_stack', 'from_config'))]"
    ),
)

TASK_OPTIONS = Section(
    "task options",
    works={
        "test_a_name_that_is_given_is_kept": "name",
        "test_with_bind_the_first_parameter_is_the_task": "bind",
        "test_handlers_are_called_in_celerys_order_with_celerys_arguments": "base abstract",
        "test_a_filter_makes_something_else_of_a_task": "filter",
        "test_without_typing_any_arguments_are_sent": "typing",
        "test_the_errors_listed_are_retried_and_others_are_not": (
            "autoretry_for dont_autoretry_for retry_kwargs retry_backoff retry_backoff_max retry_jitter max_retries"
        ),
        "test_a_retry_is_announced_and_waits_the_tasks_default_delay": "default_retry_delay",
        "test_an_exception_that_throws_lists_is_not_buried": "throws",
        "test_ignore_result_of_the_call_wins_over_the_tasks_over_the_settings": "ignore_result",
        "test_an_ignored_failure_is_stored_where_that_is_wanted": "store_errors_even_if_ignored",
        "test_eager_results_are_stored_where_that_is_wanted": "store_eager_result",
        "test_started_is_reported_where_that_is_wanted": "track_started",
        "test_tasks_that_keep_no_trail_have_no_children": "trail",
        "test_an_at_least_once_run_is_not_marked": "acks_late",
        "test_a_lost_run_is_retried_where_that_is_asked_for": "retry_on_worker_lost",
        "test_the_handlers_of_a_lost_run_are_called_once_by_another_process": "reject_on_worker_lost",
        "test_what_passes_its_hard_limit_is_repeated_where_that_is_asked_for": "acks_on_timeout",
        "test_what_is_about_timeouts_alone_wins_and_the_task_over_the_settings": "acks_on_failure_or_timeout",
        "test_what_a_task_says_holds_for_its_calls": (
            "serializer compression expires time_limit soft_time_limit priority"
        ),
        "test_the_queue_of_the_call_wins_over_the_tasks_over_the_settings": "queue",
        "test_exchange_and_routing_key_become_a_queue": "exchange routing_key",
        "test_models_are_made_of_arguments_and_written_as_data": (
            "pydantic pydantic_strict pydantic_context pydantic_dump_kwargs"
        ),
    },
    accepted={
        "tasks are made at once": "lazy",
        "shared_task is what shares": "shared",
        "messages are always kept": "delivery_mode",
        "logs cut results at a length of their own": "resultrepr_maxsize",
        **{
            f"warned of: {option.note}": " ".join(name for name, other in OPTIONS.items() if other.note == option.note)
            for option in OPTIONS.values()
            if option.note is not None
        },
    },
    has=lambda name: name in OPTIONS or name in inspect.signature(Celery.task_from).parameters,
    celery=(
        "[name for name in public(celery.Task) if name in dict(celery.Task.from_config) or not callable(getattr("
        "celery.Task, name)) and name not in ('request', 'app', 'request_stack', 'from_config')]"
    ),
)

REQUEST = Section(
    "request",
    works={
        "test_a_run_sees_its_arguments_and_who_it_is": (
            "id args kwargs correlation_id is_eager called_directly hostname origin"
        ),
        "test_what_options_of_a_call_a_run_sees": (
            "root_id parent_id group group_index retries eta expires timelimit time_limit soft_time_limit delivery_info "
            "properties headers reply_to ignore_result shadow stamped_headers stamps replaced_task_nesting"
        ),
        "test_a_run_sees_who_is_called_after_it": "callbacks errbacks",
        "test_tasks_that_keep_no_trail_have_no_children": "children",
        "test_a_context_outside_of_a_run_says_that_the_task_was_called_directly": "get",
    },
    accepted={
        "workflows set them; None until then": "chord chain",
        "Celery's older messages had them; None": "taskset utc",
        "the worker's log, which is not the task's affair; None": "logfile loglevel",
    },
    internal={"how Celery makes a request": "as_execution_options clear update"},
    has=lambda name: hasattr(Context(), name),
    celery="public(Context())",
)
