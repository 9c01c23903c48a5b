"""The top level, the application and its constructor."""

from __future__ import annotations

import inspect

import celeriac
from celeriac import Celery
from names.section import Section

__all__ = ["APP", "CONSTRUCTOR", "TOP_LEVEL"]

_WORKFLOWS = "with workflows"
_SCHEDULER = "with the scheduler"
_EVENTS = "with events"
_CONTROL = "with remote control"
_ALIAS = "with the celery alias, for code that reaches into Celery's own parts"

TOP_LEVEL = Section(
    "celery",
    works={
        "test_the_top_level_has_its_names_and_no_others": "Celery Task Signature",
        "test_a_signature_of_a_name_is_sent_by_name": "signature subtask",
        "test_what_may_be_a_signature_is_made_one": "maybe_signature",
        "test_a_shared_task_is_a_task_of_every_application": "shared_task",
        "test_the_current_app_is_the_last_one_made_or_made_current": "current_app",
        "test_the_current_task_is_the_one_that_runs": "current_task",
        "test_every_uuid_is_another": "uuid",
        "test_the_application_starts_its_command_line": "bugreport",
        "test_versions_are_numbers_and_text": "VERSION version_info",
    },
    planned={_WORKFLOWS: "chain chord chunks group xmap xstarmap"},
    internal={
        "celery's name of a release": "SERIES VERSION_BANNER version_info_t",
        "lazy loading and greenlets": "local maybe_patch_concurrency",
    },
    has=lambda name: hasattr(celeriac, name),
    celery="public(celery)",
)

APP = Section(
    "app",
    works={
        "test_keywords_are_settings": "conf",
        "test_settings_come_from_modules_and_variables": "config_from_object config_from_envvar add_defaults",
        "test_a_task_is_found_by_its_name": "task tasks",
        "test_task_classes_are_the_applications_or_the_tasks_own": "Task task_cls register_task",
        "test_tasks_are_named_after_their_module_and_the_application": "gen_task_name main",
        "test_tasks_of_packages_are_discovered": "autodiscover_tasks",
        "test_the_steps_of_an_application_are_announced": "on_configure on_after_configure on_after_finalize finalize",
        "test_without_autofinalize_tasks_wait_for_finalize": "autofinalize finalized",
        "test_the_application_announces_the_fork_in_each_child": "on_after_fork",
        "test_a_subclass_has_its_say_when_the_application_is_made": "on_init",
        "test_what_options_of_a_call_a_run_sees": "send_task",
        "test_a_signature_of_the_application_is_called_by_name": "signature",
        "test_a_result_is_found_again_by_its_id": "AsyncResult",
        "test_an_application_that_was_closed_opens_its_store_again": "backend close",
        "test_the_current_task_is_the_one_that_runs": "current_task current_worker_task",
        "test_the_current_app_is_the_last_one_made_or_made_current": "set_current set_default",
        "test_now_is_the_clocks_time_in_the_zone": "now",
        "test_without_utc_the_zone_is_the_machines": "timezone uses_utc_timezone",
        "test_queues_are_selected_by_name": "select_queues",
        "test_the_application_starts_its_command_line": "start worker_main bugreport",
        "test_without_strict_typing_any_arguments_are_sent": "strict_typing",
        "test_what_waits_is_taken_out_at_once_without_any_worker": "control",
    },
    accepted={
        "the wall clock here; Celery's is Lamport's, of events": "clock",
    },
    planned={
        _WORKFLOWS: "GroupResult ResultSet",
        _SCHEDULER: "Beat add_periodic_task",
        _EVENTS: "events events_cls",
        _CONTROL: "control_cls",
        "with signed messages": "setup_security",
        _ALIAS: (
            "amqp amqp_cls loader loader_cls log log_cls pool producer_pool connection connection_for_read "
            "connection_for_write connection_or_acquire producer_or_acquire broker_connection default_connection "
            "default_producer Worker WorkController steps user_options fixups"
        ),
    },
    internal={
        "how Celery makes applications and tasks": (
            "Pickler annotations backend_cls builtin_fixups configured create_task_cls either namespace prepare_config "
            "registry_cls set_as_current subclass_with_self type_checker use_fast_trace_task config_from_cmdline"
        ),
        "ids of result queues of RabbitMQ": "oid thread_oid",
        "which system it is": "SYSTEM IS_macOS IS_WINDOWS",
    },
    has=lambda name: name in dir(Celery("names", broker=":memory:", set_as_current=False)),
    celery="public(app)",
)

CONSTRUCTOR = Section(
    "Celery()",
    works={
        "test_tasks_are_named_after_their_module_and_the_application": "main",
        "test_keywords_are_settings": "broker backend include",
        "test_the_current_app_is_the_last_one_made_or_made_current": "set_as_current",
        "test_tasks_of_the_constructor_are_the_applications": "tasks",
        "test_settings_come_from_modules_and_variables": "changes config_source",
        "test_the_namespace_of_the_constructor_holds_for_objects": "namespace",
        "test_task_classes_are_the_applications_or_the_tasks_own": "task_cls",
        "test_without_autofinalize_tasks_wait_for_finalize": "autofinalize",
        "test_without_strict_typing_any_arguments_are_sent": "strict_typing",
        "test_a_source_that_is_missing_is_passed_over_where_the_constructor_says_so": "config_source_silent",
    },
    accepted={"there are no such parts to replace": "loader amqp events log control fixups"},
    has=lambda name: name in inspect.signature(Celery).parameters,
    celery="parameters(celery.Celery)",
)
