"""What is stored of a task, by its options and the settings, and how it is read back: with a real worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.behaviour import PLACES, STORES, Behaviour, behaviour

TASKS = """
@app.task
def work(value):
    return value


@app.task
def fail():
    raise LookupError("why")


@app.task(ignore_result=True)
def forgotten(word):
    note(word, "ran")


@app.task(ignore_result=True, store_errors_even_if_ignored=True)
def remembered():
    raise LookupError("why")


@app.task
def rejected():
    from celeriac.exceptions import Reject

    raise Reject("not now")


@app.task
def prints_long():
    raise LookupError("x" * 100_000)
"""

PYDANTIC = """
from pydantic import BaseModel


class Order(BaseModel):
    sku: str
    count: int = 1


@app.task(pydantic=True)
def double(order: Order) -> Order:
    return Order(sku=order.sku, count=order.count * 2)


@app.task(pydantic=True)
async def double_async(order: Order) -> Order:
    return Order(sku=order.sku, count=order.count * 2)
"""


@pytest.fixture(scope="module", params=PLACES)
def at_work(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behaviour]:
    with behaviour(request.param, TASKS + PYDANTIC, tmp_path_factory.mktemp("results")) as at_work:
        yield at_work


def told(at_work: Behaviour, call: str, *facts: str) -> list[str]:
    """Facts of the result of a call, when it has ended."""
    return at_work.ask(f"""
        from tasks import *
        result = {call}
        value = result.get(timeout=30, propagate=False)
        for fact in ({"".join(fact + "," for fact in facts)}):
            print(repr(fact))
    """)


def test_a_call_may_ask_for_the_result_of_a_task_that_is_forgotten(at_work: Behaviour) -> None:
    call = "forgotten.apply_async(('asked',), ignore_result=False)"
    assert told(at_work, call, "value", "result.state") == ["None", "'SUCCESS'"]


def test_a_failure_is_stored_of_what_is_otherwise_forgotten(at_work: Behaviour) -> None:
    call = "app.AsyncResult(remembered.delay().id)"
    assert told(at_work, call, "value", "result.state") == ["LookupError('why')", "'FAILURE'"]


def test_a_rejected_task_ends_for_who_waits(at_work: Behaviour) -> None:
    assert told(at_work, "rejected.delay()", "result.state", "type(value).__name__") == ["'FAILURE'", "'Reject'"]


def test_a_very_long_text_comes_back_whole(at_work: Behaviour) -> None:
    assert told(at_work, "prints_long.delay()", "len(str(value))") == ["100000"]


@pytest.mark.parametrize("task", ["double", "double_async"])
def test_models_go_in_and_plain_data_comes_out(at_work: Behaviour, task: str) -> None:
    call = f"{task}.delay(Order(sku='a', count=2))"
    assert told(at_work, call, "value") == ["{'sku': 'a', 'count': 4}"]


def test_plain_data_that_fits_no_model_is_a_failure(at_work: Behaviour) -> None:
    call = "double.apply_async(({'sku': 'a', 'count': 'many'},))"
    assert told(at_work, call, "result.state", "'ValidationError' in str(value)") == ["'FAILURE'", "True"]


# ── settings: a worker for each ──

SETTINGS = {
    "yaml": "result_serializer='yaml', accept_content=['json', 'yaml']",
    "msgpack": "result_serializer='msgpack', accept_content=['json', 'msgpack']",
    "pickle": "result_serializer='pickle', accept_content=['json', 'pickle']",
    "compressed": "result_compression='gzip'",
}


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("settings", SETTINGS)
def test_results_by_other_serializers_and_compressed(tmp_path: Path, store: str, settings: str) -> None:
    tasks = f"{TASKS}\napp.conf.update({SETTINGS[settings]})\n"
    with behaviour(store, tasks, tmp_path) as at_work:
        assert told(at_work, "work.delay({'a': [1, 'é']})", "value") == ["{'a': [1, 'é']}"]
        assert told(at_work, "fail.delay()", "value", "result.state") == ["LookupError('why')", "'FAILURE'"]


@pytest.mark.parametrize("store", STORES)
def test_the_extended_facts_of_a_result(tmp_path: Path, store: str) -> None:
    with behaviour(store, f"{TASKS}\napp.conf.result_extended = True\n", tmp_path) as at_work:
        facts = ("name", "args", "kwargs", "retries", "queue")
        assert told(at_work, "work.delay(5)", *(f"result.{fact}" for fact in facts)) == [
            *("'tasks.work'", "[5]", "{}", "0", "'celery'")
        ]


@pytest.mark.parametrize("store", STORES)
def test_a_forgotten_result_is_not_stored(tmp_path: Path, store: str) -> None:
    with behaviour(store, TASKS, tmp_path) as at_work:
        (task_id,) = at_work.ask("""
            from tasks import forgotten
            result = forgotten.delay("forgotten")
            assert result.get() is None
            print(result.id)
        """)
        at_work.worker.wait_for(rf"{task_id}\] succeeded")
        assert at_work.worker.stop() == 0
        assert at_work.ask(f"from tasks import app; print(app.AsyncResult({task_id!r}).exists())") == ["False"]
