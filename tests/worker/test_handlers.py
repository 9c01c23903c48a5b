"""Handlers of tasks in a real worker: their order, and what follows when one raises."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.behaviour import PLACES, Behaviour, behaviour

TASKS = """
class Told(Task):
    def before_start(self, task_id, args, kwargs):
        note(task_id, "before_start")
        if "before_start" in args:
            raise ValueError("before_start")

    def on_success(self, retval, task_id, args, kwargs):
        note(task_id, "on_success")
        if "on_success" in args:
            raise ValueError("on_success")

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        note(task_id, "on_failure", repr(exc), einfo.type.__name__)
        if "on_failure" in args:
            raise ValueError("on_failure")

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        note(task_id, "on_retry", repr(exc))

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        note(task_id, "after_return", status)
        if "after_return" in args:
            raise ValueError("after_return")


@app.task(base=Told)
def work(*args):
    note(current_task.request.id, "work")
    return 5


@app.task(base=Told)
async def work_async(*args):
    note(current_task.request.id, "work")
    return 5


@app.task(base=Told)
def fail(*args):
    raise LookupError("why")


@app.task(base=Told, bind=True)
def flaky(self):
    if not self.request.retries:
        raise self.retry(exc=LookupError("again"), countdown=0)
    return 5
"""


@pytest.fixture(scope="module", params=PLACES)
def at_work(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behaviour]:
    with behaviour(request.param, TASKS, tmp_path_factory.mktemp("handlers")) as at_work:
        yield at_work


def run(at_work: Behaviour, name: str, *args: str) -> tuple[str, list[str]]:
    """The state at the end, and what the handlers have noted."""
    task_id = "-".join((name, *args))
    (state,) = at_work.ask(f"""
        from tasks import {name}
        result = {name}.apply_async({args!r}, task_id={task_id!r})
        result.get(timeout=30, propagate=False)
        print(result.state)
    """)
    return state, at_work.notes(task_id)


@pytest.mark.parametrize("name", ["work", "work_async"])
def test_handlers_of_a_success_are_called_in_order(at_work: Behaviour, name: str) -> None:
    assert run(at_work, name) == ("SUCCESS", ["before_start", "work", "on_success", "after_return SUCCESS"])


def test_handlers_of_a_failure_are_called_in_order(at_work: Behaviour) -> None:
    assert run(at_work, "fail") == (
        "FAILURE",
        ["before_start", "on_failure LookupError('why') LookupError", "after_return FAILURE"],
    )


def test_handlers_of_a_retry_are_called_in_order(at_work: Behaviour) -> None:
    assert run(at_work, "flaky") == (
        "SUCCESS",
        ["before_start", "on_retry LookupError('again')", "before_start", "on_success", "after_return SUCCESS"],
    )


def test_a_task_whose_before_start_raises_does_not_run(at_work: Behaviour) -> None:
    assert run(at_work, "work", "before_start") == (
        "FAILURE",
        ["before_start", "on_failure ValueError('before_start') ValueError", "after_return FAILURE"],
    )


@pytest.mark.parametrize(
    ("name", "handler", "state"),
    [
        ("work", "on_success", "SUCCESS"),
        ("fail", "on_failure", "FAILURE"),
        ("work", "after_return", "SUCCESS"),
        ("fail", "after_return", "FAILURE"),
    ],
)
def test_the_outcome_stands_whatever_a_late_handler_raises(
    at_work: Behaviour, name: str, handler: str, state: str
) -> None:
    found, notes = run(at_work, name, handler)
    assert (found, notes[-1]) == (state, f"after_return {state}")
    at_work.worker.wait_for(rf"{handler} of task tasks\.{name}\[.*\] raised; the outcome stands")
