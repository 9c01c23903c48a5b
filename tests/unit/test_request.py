import asyncio
import threading

import pytest

from celeriac.request import Context, current_run, running
from celeriac.runs import Run
from support.celery_oracle import ask_celery


def run(name):
    return Run(name, Context(id=name), None)


def test_outside_of_a_run_there_is_none():
    assert current_run.get() is None


def test_a_context_outside_of_a_run_says_that_the_task_was_called_directly():
    context = Context()
    assert (context.called_directly, context.id, context.retries, context.args) == (True, None, 0, None)


def test_contexts_share_no_lists():
    Context().children.append(1)
    assert Context().children == []


def test_another_thread_sees_no_run_of_this_one():
    token = current_run.set(run("a"))
    seen = []
    thread = threading.Thread(target=lambda: seen.append(current_run.get()))
    thread.start()
    thread.join()
    current_run.reset(token)
    assert seen == [None]


async def test_coroutines_see_their_own_run():
    async def work(name):
        current_run.set(run(name))
        await asyncio.sleep(0)
        return current_run.get().task

    assert await asyncio.gather(work("a"), work("b")) == ["a", "b"]


def test_headers_of_the_caller_are_attributes():
    assert Context(headers={"tenant": 7}).tenant == 7


def test_a_fact_that_is_not_there_says_so():
    with pytest.raises(AttributeError, match="this run has no 'tenant'"):
        _ = Context(headers={"other": 7}).tenant
    assert Context().get("tenant", 5) == 5


FACTS = ["id", "args", "kwargs", "retries", "root_id", "parent_id", "group", "group_index", "chord", "chain"]
FACTS += ["callbacks", "errbacks", "eta", "expires", "timelimit", "hostname", "delivery_info", "properties", "reply_to"]
FACTS += ["correlation_id", "shadow", "ignore_result", "is_eager", "called_directly", "replaced_task_nesting", "utc"]
FACTS += ["headers", "stamped_headers", "stamps", "logfile", "loglevel", "taskset", "origin", "children"]


def test_a_context_has_celerys_facts_and_defaults():
    theirs = ask_celery(
        "from celery.app.task import Context\nanswer = {name: getattr(Context(), name) for name in given}", FACTS
    )
    ours = {name: getattr(Context(), name) for name in FACTS}
    assert {name: (ours[name], theirs[name]) for name in FACTS if ours[name] != theirs[name]} == {}


# ── the run that code belongs to ──


def test_code_outside_of_a_worker_belongs_to_no_run():
    assert running() is None


def test_a_function_that_a_task_calls_directly_is_part_of_its_run(app):
    outer = Run(app.task(print, name="unit.outer"), Context(id="id-1", called_directly=False), object())
    seen = []
    inner = app.task(lambda: seen.append(running()), name="unit.inner")
    token = current_run.set(outer)
    inner()
    current_run.reset(token)
    assert seen == [outer]
