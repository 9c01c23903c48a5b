"""Callbacks, errbacks and replacements in a real worker: what is called with what, and whose child it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.behaviour import PLACES, Behaviour, behaviour

TASKS = """
@app.task
def add(x, y=0):
    return x + y


@app.task
def fail():
    raise LookupError("why")


@app.task(bind=True)
def tell(self, *args):
    request = self.request
    note(request.root_id, list(args), request.parent_id, request.delivery_info["routing_key"])
    return list(args)


@app.task
def tell_here(request, exc, traceback):
    note(request.id, repr(exc), traceback.rstrip().splitlines()[-1])


@app.task
async def tell_here_async(request, exc, traceback):
    note(request.id, repr(exc), "async")


@app.task(bind=True)
def replaced(self, value):
    return self.replace(add.s(value, 1))


@app.task(bind=True)
def flaky(self):
    if not self.request.retries:
        raise self.retry(countdown=0)
    return 5
"""


@pytest.fixture(scope="module", params=PLACES)
def at_work(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behaviour]:
    with behaviour(request.param, TASKS, tmp_path_factory.mktemp("callbacks"), "other") as at_work:
        yield at_work


def run(at_work: Behaviour, task_id: str, call: str) -> tuple[list[str], list[str]]:
    """What the call ends with (state, value), and what was noted when its children had ended as well."""
    answer = at_work.ask(f"""
        from tasks import *
        result = {call}.apply_async(task_id={task_id!r})
        value = result.get(timeout=30, propagate=False)
        print(result.state)
        print(repr(value))
        for child in result.children:
            child.get(timeout=30)
    """)
    return answer, at_work.notes(task_id)


def test_a_callback_gets_the_result_before_its_own_arguments(at_work: Behaviour) -> None:
    assert run(at_work, "plain", "add.s(2, 3).set(link=tell.s(1))") == (
        ["SUCCESS", "5"],
        ["[5, 1] plain celery"],
    )


def test_an_immutable_callback_gets_its_own_arguments_alone(at_work: Behaviour) -> None:
    assert run(at_work, "immutable", "add.s(2, 3).set(link=tell.si(1))")[1] == ["[1] immutable celery"]


def test_each_of_several_callbacks_is_called(at_work: Behaviour) -> None:
    notes = run(at_work, "several", "add.s(2, 3).set(link=[tell.s(1), tell.s(2)])")[1]
    assert sorted(notes) == ["[5, 1] several celery", "[5, 2] several celery"]


def test_a_callback_goes_to_its_own_queue(at_work: Behaviour) -> None:
    call = "add.s(2, 3).set(link=tell.s().set(queue='other', countdown=0.1))"
    assert run(at_work, "routed", call)[1] == ["[5] routed other"]


def test_a_callback_is_called_once_after_a_retry(at_work: Behaviour) -> None:
    assert run(at_work, "retried", "flaky.s().set(link=tell.s())")[1] == ["[5] retried celery"]


def test_no_callback_after_a_failure(at_work: Behaviour) -> None:
    answer, notes = run(at_work, "failed", "fail.s().set(link=tell.s())")
    assert (answer[0], notes) == ("FAILURE", [])


@pytest.mark.parametrize(("errback", "told"), [
    ("tell_here", "LookupError('why') LookupError: why"), ("tell_here_async", "LookupError('why') async"),
])  # fmt: skip
def test_an_errback_of_three_arguments_is_called_in_place(at_work: Behaviour, errback: str, told: str) -> None:
    task_id = f"for-{errback}"
    assert run(at_work, task_id, f"fail.s().set(link_error={errback}.s())")[1] == [told]


def test_an_errback_of_one_argument_is_sent_with_the_id(at_work: Behaviour) -> None:
    at_work.ask("""
        from tasks import fail, tell
        fail.apply_async(task_id="sent", link_error=tell.s().set(task_id="errback of sent"))
        print(fail.app.AsyncResult("errback of sent").get(timeout=30))
    """)
    assert at_work.notes("sent") == ["['sent'] sent celery"]


def test_who_waits_for_a_replaced_task_gets_the_others_result(at_work: Behaviour) -> None:
    assert run(at_work, "replaced", "replaced.s(4).set(link=tell.s())") == (
        ["SUCCESS", "5"],
        ["[5] replaced celery"],
    )
