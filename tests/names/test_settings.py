"""What settings do, where no other test shows it."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac import Celery, Task
from celeriac.documents import Document
from celeriac.settings import SETTINGS


def test_results_are_kept_as_the_settings_say() -> None:
    app = Celery(
        "names",
        broker=":memory:",
        result_compression="gzip",
        result_accept_content=["json", "pickle"],
        result_expires=60,
        result_failure_expires=120,
    )
    document = Document("id", "SUCCESS", "x" * 1000)
    raw = app.encode_document(document)
    assert len(raw) < 200
    assert app.decode_document("id", raw).value() == "x" * 1000
    assert app.result_accept - app.accept == {"application/x-python-serialize"}
    assert (app.result_ttl_s, app.failure_ttl_s) == (60, 120)


def test_extended_results_say_which_call_it_was(app: Celery) -> None:
    app.conf.update(result_extended=True, task_store_eager_result=True)
    job = app.task(name="names.job")(lambda x, y: x + y)
    result = app.AsyncResult(job.apply((1,), {"y": 2}).id)
    assert (result.get(timeout=5), result.name, list(result.args), result.kwargs) == (3, "names.job", [1], {"y": 2})


def test_calls_are_eager_where_the_settings_say(app: Celery) -> None:
    app.conf.update(task_always_eager=True, task_eager_propagates=True)

    @app.task
    def job() -> None:
        raise KeyError("now")

    with pytest.raises(KeyError):
        job.delay()


def test_calls_have_what_the_settings_say(app: Celery) -> None:
    app.conf.update(task_serializer="pickle", task_compression="gzip", task_default_priority=4)
    app.task(lambda: None).delay()
    (message,) = app.broker.peek("celery", 2)
    assert message.content_type == "application/x-python-serialize"  # type: ignore[union-attr]
    assert message.headers["compression"] == "application/x-gzip"  # type: ignore[union-attr]
    assert message.priority == 4  # type: ignore[union-attr]


def test_calls_of_a_task_have_its_priority_where_the_settings_say(app: Celery) -> None:
    app.conf.update(task_always_eager=True, task_inherit_parent_priority=True)

    @app.task(bind=True)
    def child(self: Task) -> Any:
        assert self.request.delivery_info is not None
        return self.request.delivery_info["priority"]

    @app.task
    def parent() -> Any:
        return child.delay().get(disable_sync_subtasks=False)

    assert parent.apply_async(priority=7).get() == 7


@pytest.mark.parametrize("name", [name for name, setting in SETTINGS.items() if not setting.acted_on])
def test_a_setting_without_effect_has_a_warning_that_says_why(name: str) -> None:
    warning = SETTINGS[name].warning(object())
    assert warning is not None
    assert warning.endswith(SETTINGS[name].note)
