"""Calls: options of `apply_async`, signatures and results."""

from __future__ import annotations

import inspect

import celeriac.canvas
import celeriac.result
from celeriac import AsyncResult, Celery, Signature, Task
from celeriac.calling import CallKeywords
from celeriac.result import EagerResult
from names.section import Section

__all__ = ["BUILT_IN_TASKS", "CALL_OPTIONS", "EAGER_RESULT", "RESULT", "RESULT_SETS", "SIGNATURE", "STAMPING"]

_WORKFLOWS = "with workflows"
_CONTROL = "with remote control"

CALL_OPTIONS = Section(
    "apply_async",
    works={
        "test_a_run_sees_its_arguments_and_who_it_is": "args kwargs task_id",
        "test_what_options_of_a_call_a_run_sees": (
            "countdown expires shadow reply_to headers root_id parent_id group_id group_index ignore_result time_limit "
            "soft_time_limit retries replaced_task_nesting"
        ),
        "test_an_eta_is_a_moment_aware_or_in_the_applications_time_zone": "eta",
        "test_how_a_publish_is_repeated_is_the_calls_to_say": "retry retry_policy",
        "test_the_queue_of_the_call_wins_over_the_tasks_over_the_settings": "queue",
        "test_exchange_and_routing_key_become_a_queue": "exchange routing_key",
        "test_the_priority_of_the_call_wins_over_the_tasks_over_the_settings": "priority",
        "test_a_call_is_written_as_it_says": "serializer compression",
        "test_callbacks_are_called_with_the_result_and_errbacks_after_a_failure": "link link_error",
        "test_tasks_that_keep_no_trail_have_no_children": "add_to_parent",
        "test_what_workflows_add_to_a_call_is_sent": "chord chain",
    },
    accepted={
        "messages are always kept": "delivery_mode",
        "Celery's connections and parts, which a publish has not": (
            "producer connection declare timeout confirm_timeout router result_cls publisher"
        ),
    },
    internal={"how Celery's own code calls send_task": "name route_name task_type"},
    has=lambda name: name in CallKeywords.__annotations__ or name in inspect.signature(Task.apply_async).parameters,
    celery="parameters(celery.Task.apply_async) + parameters(celery.Celery.send_task)",
)

_RESULT_WORKS = {
    "test_a_result_tells_what_is_stored": (
        "exists wait state status result info id task_id children traceback args kwargs worker retries queue app "
        "maybe_throw maybe_reraise throw name"
    ),
    "test_get_is_woken_by_the_store": "get",
    "test_ready_successful_and_failed_follow_the_state": "ready successful failed",
    "test_a_result_can_be_written_down_with_its_parents": "parent as_list as_tuple",
    "test_the_tasks_that_a_task_called_are_found_from_its_result": "collect iterdeps get_leaf",
    "test_forget_removes_it_from_the_store": "forget",
    "test_a_callback_is_called_when_the_result_is_there": "then",
    "test_ignore_result_of_the_call_wins_over_the_tasks_over_the_settings": "ignored",
    "test_our_worker_stores_a_success_as_celery_does": "date_done",
}
_RESULT_PLANNED = {_WORKFLOWS: "build_graph graph", _CONTROL: "revoke_by_stamped_headers"}
_RESULT_INTERNAL = {"how Celery's results reach their store": "TimeoutError backend on_ready supports_native_join"}


def _made(kind: type[AsyncResult]) -> AsyncResult:
    app = Celery("names", broker=":memory:", set_as_current=False)
    return AsyncResult("id", app=app) if kind is AsyncResult else EagerResult("id", 1, "SUCCESS", app=app)


RESULT = Section(
    "AsyncResult",
    works={**_RESULT_WORKS, "test_terminate_ends_a_run_in_every_pool": "revoke"},
    planned=_RESULT_PLANNED,
    internal=_RESULT_INTERNAL,
    has=lambda name: name in dir(_made(AsyncResult)),
    celery="public(celery.result.AsyncResult('id', app=app))",
)

EAGER_RESULT = Section(
    "EagerResult",
    works={**_RESULT_WORKS, "test_an_eager_result_is_the_value_as_it_is": "revoke"},
    planned=_RESULT_PLANNED,
    internal=_RESULT_INTERNAL,
    has=lambda name: name in dir(_made(EagerResult)),
    celery="public(celery.result.EagerResult('id', 1, 'SUCCESS'))",
)

RESULT_SETS = Section(
    "ResultSet and GroupResult",
    works={},
    planned={
        _WORKFLOWS: (
            "add app as_tuple backend children clear completed_count delete discard failed forget get id iter_native join "
            "join_native maybe_reraise maybe_throw parent ready remove restore results revoke save successful "
            "supports_native_join then update waiting"
        ),
    },
    has=lambda name: hasattr(getattr(celeriac.result, "GroupResult", None), name),
    celery="public(celery.result.GroupResult)",
)

SIGNATURE = Section(
    "Signature",
    works={
        "test_a_signature_holds_a_call": (
            "task args kwargs options subtask_type immutable type app delay apply apply_async reprcall"
        ),
        "test_a_signature_is_copied_and_changed": "clone partial replace set set_immutable",
        "test_a_signature_that_is_frozen_knows_its_ids": "freeze id root_id parent_id",
        "test_signatures_are_linked": "link link_error on_error flatten_links",
        "test_what_may_be_a_signature_is_made_one": "from_dict",
        "test_a_class_of_signatures_is_registered_by_its_type": "register_type TYPES",
    },
    planned={_WORKFLOWS: "stamp stamp_links", _CONTROL: "election"},
    internal={"how Celery's signatures are built": "AsyncResult append_to_list_option extend_list_option name"},
    has=lambda name: hasattr(Signature, name),
    celery="[name for name in public(celery.Signature) if name not in dir(dict)]",
)

STAMPING = Section(
    "StampingVisitor",
    works={},
    planned={
        _WORKFLOWS: (
            "on_signature on_group_start on_group_end on_chain_start on_chain_end on_chord_header_start "
            "on_chord_header_end on_chord_body on_callback on_errback"
        ),
    },
    has=lambda name: hasattr(getattr(celeriac.canvas, "StampingVisitor", None), name),
    celery="public(celery.canvas.StampingVisitor)",
)

BUILT_IN_TASKS = Section(
    "built-in tasks",
    works={},
    planned={
        _WORKFLOWS: "accumulate chord_unlock map starmap chunks group chain chord",
        "with the scheduler; stores delete what has expired by themselves": "backend_cleanup",
    },
    has=lambda name: f"celery.{name}" in Celery("names", broker=":memory:", set_as_current=False).tasks,
    celery="[name.removeprefix('celery.') for name in app.tasks if name.startswith('celery.')]",
)
