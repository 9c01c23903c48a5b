"""Settings. Those without effect, and why, stand in celeriac's own table of them, which warns in these words."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import celeriac
from celeriac.settings import SETTINGS
from names.section import Lists, Section

__all__ = ["SETTINGS_NAMES"]


@cache
def _read() -> frozenset[str]:
    """The words of all modules but the table: what no module names is not acted on."""
    source = Path(celeriac.__file__).parent
    files = [file for file in source.rglob("*.py") if not file.is_relative_to(source / "settings" / "table")]
    files.remove(source / "settings" / "names.py")
    return frozenset(word for file in files for word in re.findall(r"\w+", file.read_text()))


def _by_note(effect: str) -> Lists:
    found: dict[str, list[str]] = defaultdict(list)
    for name, setting in SETTINGS.items():
        if setting.effect == effect:
            found[setting.note].append(name)
    return {note: " ".join(names) for note, names in found.items()}


SETTINGS_NAMES = Section(
    "settings",
    works={
        "test_accept_lists_content_types": "accept_content",
        "test_results_are_kept_as_the_settings_say": (
            "result_accept_content result_compression result_expires result_failure_expires"
        ),
        "test_extended_results_say_which_call_it_was": "result_extended task_store_eager_result",
        "test_a_result_of_a_type_that_is_not_accepted_is_not_read": "result_serializer",
        "test_without_utc_naive_times_are_the_machines": "enable_utc",
        "test_naive_times_are_utc_or_in_the_zone_that_is_set": "timezone",
        "test_the_modules_of_the_settings_are_loaded_too": "imports include",
        "test_keywords_are_settings": "broker_url result_backend",
        "test_a_broker_given_for_reading_or_writing_is_the_broker": "broker_read_url broker_write_url",
        "test_tls_settings_are_those_of_the_url": "broker_use_ssl redis_backend_use_ssl",
        "test_options_reach_the_engine": "broker_transport_options broker_connection_timeout",
        "test_a_backend_of_the_same_url_with_other_options_is_another_store": "result_backend_transport_options",
        "test_the_banner_names_at_most_once": "task_acks_late",
        "test_what_is_about_timeouts_alone_wins_and_the_task_over_the_settings": (
            "task_acks_on_timeout task_acks_on_failure_or_timeout task_reject_on_worker_lost task_retry_on_worker_lost"
        ),
        "test_a_task_that_is_always_interrupted_is_buried_in_the_end": "max_interruptions",
        "test_calls_are_eager_where_the_settings_say": "task_always_eager task_eager_propagates",
        "test_tasks_are_annotated_as_by_celery": "task_annotations",
        "test_calls_have_what_the_settings_say": "task_serializer task_compression task_default_priority",
        "test_a_pickled_message_of_protocol_1_is_malformed_and_not_unpickled": "task_protocol",
        "test_calls_go_where_celery_sends_them": "task_routes task_queues",
        "test_a_missing_queue_that_may_not_be_created_is_an_error_with_a_hint": "task_create_missing_queues",
        "test_the_queue_of_the_call_wins_over_the_tasks_over_the_settings": "task_default_queue",
        "test_what_a_queue_leaves_out_it_gets_from_the_defaults": "task_default_exchange task_default_routing_key",
        "test_calls_of_a_task_have_its_priority_where_the_settings_say": "task_inherit_parent_priority",
        "test_the_publish_policy_is_the_settings": "task_publish_retry task_publish_retry_policy",
        "test_ignore_result_of_the_call_wins_over_the_tasks_over_the_settings": "task_ignore_result",
        "test_an_ignored_failure_is_stored_where_that_is_wanted": "task_store_errors_even_if_ignored",
        "test_started_is_reported_where_that_is_wanted": "task_track_started",
        "test_a_plain_task_gets_its_soft_limit_and_the_worker_goes_on": "task_soft_time_limit",
        "test_a_hard_limit_ends_any_plain_task_once_and_for_all": "task_time_limit",
        "test_slots_are_shared_out_to_children_as_the_pool_does": "worker_pool",
        "test_concurrency_is_how_many_tasks_run_at_a_time": "worker_concurrency",
        "test_a_child_runs_as_many_tasks_as_it_may_and_the_next_goes_on": "worker_max_tasks_per_child",
        "test_a_child_that_holds_too_much_memory_is_replaced": "worker_max_memory_per_child",
        "test_after_an_outage_the_lease_is_renewed_before_others_may_take_over": "worker_lease",
        "test_what_still_runs_at_the_end_of_the_grace_period_goes_back_uncounted": "worker_shutdown_grace",
        "test_lines_have_the_format_and_the_process_of_the_settings": "worker_log_format",
        "test_no_redirecting_is_no_level": "worker_redirect_stdouts",
        "test_print_goes_to_the_log_line_by_line": "worker_redirect_stdouts_level",
        "test_a_task_that_nobody_knows_is_buried_after_a_while": "unknown_task_wait",
        "test_formats_and_dates_are_those_of_the_settings": (
            "worker_log_datefmt worker_task_log_format worker_task_log_datefmt"
        ),
        "test_colours_are_forced_by_a_setting_and_forbidden_by_no_color": "worker_log_color",
        "test_a_root_logger_that_is_the_applications_keeps_its_handlers": "worker_hijack_root_logger",
        "test_a_task_that_kills_its_process_takes_no_innocent_one_along": "max_deliveries",
        "test_trimming_deletes_what_is_older_than_the_age": "dead_letter_max_age",
        "test_trimming_deletes_the_oldest_beyond_the_size": "dead_letter_max_size",
    },
    accepted=_by_note("accepted"),
    planned=_by_note("planned"),
    has=lambda name: SETTINGS[name].acted_on and name in _read(),
    celery="list(DEFAULTS)",
)
