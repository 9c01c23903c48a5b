import asyncio
import builtins
import json
import pickle
import threading
from datetime import UTC, datetime

import pytest

from celeriac import AsyncResult
from celeriac.documents import Document, describe_exception
from celeriac.engines.base import Record
from celeriac.exceptions import (
    IncompleteStream,
    OperationalError,
    RemoteTraceback,
    ResultError,
    TaskRevokedError,
    TimeoutError,
)
from celeriac.request import Context, current_run
from celeriac.result import EagerResult, allow_join_result
from celeriac.runs import Run
from support.celery_oracle import ask_celery


@pytest.fixture
def store(app):
    def store(status, result=None, task_id="id-1", **rest):
        app.results.store([Record(task_id, Document(task_id, status, result, **rest).encode())])

    return store


@pytest.fixture
def result(app):
    return app.AsyncResult("id-1")


@pytest.fixture
def within_a_run():
    token = current_run.set(Run("a", Context(called_directly=False), object()))
    yield
    current_run.reset(token)


def test_an_unknown_id_is_pending(result):
    assert (result.state, result.status, result.result, result.traceback, result.date_done) == (
        "PENDING",
        "PENDING",
        None,
        None,
        None,
    )
    assert result.children == []


@pytest.mark.parametrize(
    ("status", "ready", "successful", "failed"),
    [
        ("PENDING", False, False, False),
        ("STARTED", False, False, False),
        ("RETRY", False, False, False),
        ("PROGRESS", False, False, False),
        ("SUCCESS", True, True, False),
        ("FAILURE", True, False, True),
        ("REVOKED", True, False, False),
    ],
)
def test_ready_successful_and_failed_follow_the_state(result, store, status, ready, successful, failed):
    store(status)
    assert (result.state, result.ready(), result.successful(), result.failed()) == (status, ready, successful, failed)


def test_a_success_is_told(result, store):
    store("SUCCESS", 8, date_done="2026-01-02T03:04:05+00:00", children=[[["c-1", None], None]])
    assert (result.result, result.info, result.get(timeout=0)) == (8, 8, 8)
    assert result.date_done == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert result.children == [AsyncResult("c-1", app=result.app)]


def test_a_failure_is_raised_as_its_own_class_with_the_remote_traceback(result, store):
    store("FAILURE", describe_exception(ValueError("why")), traceback="Traceback ...")
    with pytest.raises(ValueError, match="why") as caught:
        result.get(timeout=0)
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert result.traceback == "Traceback ..."


def test_a_failure_is_given_back_without_propagate(result, store):
    store("FAILURE", describe_exception(ValueError("why")))
    assert repr(result.get(timeout=0, propagate=False)) == "ValueError('why')"
    assert repr(result.result) == "ValueError('why')"


def test_a_revoked_task_raises(result, store):
    store("REVOKED", describe_exception(TaskRevokedError("expired")))
    with pytest.raises(TaskRevokedError, match="expired"):
        result.get(timeout=0)


def test_the_meta_of_a_custom_state_is_the_info(result, store):
    store("PROGRESS", {"done": 3})
    assert result.info == {"done": 3}


@pytest.mark.parametrize("state", ["PENDING", "PROGRESS"])
def test_a_timeout_names_the_task_and_its_state(result, store, state):
    store(state)
    with pytest.raises(TimeoutError, match=f"id-1 has not ended within 0.01 s; its state is {state}") as caught:
        result.get(timeout=0.01)
    assert isinstance(caught.value, builtins.TimeoutError)


def test_get_is_woken_by_the_store(result, store):
    thread = threading.Thread(target=lambda: store("SUCCESS", 8))
    thread.start()
    assert result.get(timeout=30, interval=30) == 8
    thread.join()


def test_wait_is_get(result, store):
    store("SUCCESS", 8)
    assert result.wait(timeout=0) == 8


def test_a_final_state_is_asked_for_once(app, result, store):
    store("SUCCESS", 8)
    assert result.get(timeout=0) == 8
    app.results.forget(["id-1"])
    assert result.result == 8


def test_forget_removes_it_from_the_store(app, result, store):
    store("SUCCESS", 8)
    assert result.ready()
    result.forget()
    assert result.state == "PENDING"
    assert app.results.get(["id-1"]) == {}


def test_a_document_that_cannot_be_read_is_an_error_and_no_endless_wait(app, result):
    app.results.store([Record("id-1", b"\x80\x04}")])
    with pytest.raises(ResultError, match="id-1"):
        result.get(timeout=0)


def test_an_ignored_result_is_none_at_once(app):
    assert AsyncResult("id-1", app=app, ignored=True).get() is None


async def test_an_ignored_result_is_awaited_at_once(app):
    assert await AsyncResult("id-1", app=app, ignored=True) is None


@pytest.mark.usefixtures("within_a_run")
def test_get_within_a_task_is_refused(result, store):
    store("SUCCESS", 8)
    with pytest.raises(RuntimeError, match="disable_sync_subtasks=False"):
        result.get(timeout=0)


@pytest.mark.usefixtures("within_a_run")
def test_get_within_a_task_is_allowed_to_who_insists(result, store):
    store("SUCCESS", 8)
    assert result.get(timeout=0, disable_sync_subtasks=False) == 8


async def test_await_gives_the_value(result, store):
    store("SUCCESS", 8)
    assert await result == 8


async def test_await_is_woken_by_the_store(result, store):
    waiting = asyncio.create_task(result.aget(timeout=30))
    await asyncio.sleep(0)
    await asyncio.to_thread(store, "SUCCESS", 8)
    assert await waiting == 8


async def test_await_raises_the_exception(result, store):
    store("FAILURE", describe_exception(ValueError("why")))
    with pytest.raises(ValueError, match="why"):
        await result


async def test_aget_gives_the_exception_without_propagate(result, store):
    store("FAILURE", describe_exception(ValueError("why")))
    assert isinstance(await result.aget(propagate=False), ValueError)


async def test_aget_times_out_naming_the_state(result):
    with pytest.raises(TimeoutError, match="its state is PENDING"):
        await result.aget(timeout=0.01)


async def test_many_results_are_awaited_at_once(app, store):
    results = [app.AsyncResult(f"id-{number}") for number in range(50)]
    waiting = [asyncio.create_task(result.aget(timeout=30)) for result in results]
    for number in range(50):
        await asyncio.to_thread(store, "SUCCESS", number, f"id-{number}")
    assert await asyncio.gather(*waiting) == list(range(50))


class Away:
    """A result store that is away some times."""

    def __init__(self, store, times):
        self.store = store
        self.times = times

    def __getattr__(self, name):
        def call(*args):
            if self.times > 0:
                self.times -= 1
                raise OperationalError("away")
            return getattr(self.store, name)(*args)

        return call


def test_get_outlasts_an_outage(app, result, store):
    store("SUCCESS", 8)
    app.stores._results = Away(app.results, times=1)
    assert result.get(timeout=30) == 8


def test_an_outage_until_the_deadline_is_told(app, result):
    app.stores._results = Away(app.results, times=10**9)
    with pytest.raises(OperationalError, match="away"):
        result.get(timeout=0.01)
    app.stores._results = app.stores._results.store


def test_results_are_equal_by_id(app, make_app):
    assert app.AsyncResult("a") == make_app().AsyncResult("a")
    assert app.AsyncResult("a") != app.AsyncResult("b")
    assert app.AsyncResult("a") != "a"
    assert len({app.AsyncResult("a"), app.AsyncResult("a")}) == 1


def test_a_result_shows_its_id(result):
    assert (str(result), repr(result), result.task_id) == ("id-1", "<AsyncResult: id-1>", "id-1")


def test_a_result_does_not_pickle_and_says_what_to_do(result):
    with pytest.raises(TypeError, match=r"app\.AsyncResult\(id\)"):
        result.__reduce__()


# ── making ──


@pytest.mark.parametrize("id", [None, "", 5])
def test_a_result_needs_an_id(id):
    with pytest.raises(ValueError, match="needs the id of a task"):
        AsyncResult(id)


def test_a_result_without_an_app_is_of_the_current_one(make_app):
    app = make_app()
    assert AsyncResult("id-1").app is app


def test_a_result_may_ask_a_store_of_its_own(make_app, result, store):
    store("SUCCESS", 8)
    elsewhere = AsyncResult("id-1", backend=result.backend, app=make_app())
    assert elsewhere.get(timeout=0) == 8


# ── what is known ──


EXTENDED = {
    "name": "unit.job", "args": [1], "kwargs": {"y": 2}, "worker": "celery@unit", "retries": 3, "queue": "mail"
}  # fmt: skip


def test_extended_fields_are_members(result, store):
    store("SUCCESS", 8, **EXTENDED)
    assert {name: getattr(result, name) for name in EXTENDED} == EXTENDED


def test_without_result_extended_they_are_none(result, store):
    store("SUCCESS", 8)
    assert [getattr(result, name) for name in EXTENDED] == [None] * len(EXTENDED)


@pytest.mark.parametrize(("status", "exists"), [(None, False), ("STARTED", True), ("SUCCESS", True)])
def test_exists_tells_a_task_that_has_begun_from_an_unknown_one(result, store, status, exists):
    if status is not None:
        store(status)
    assert result.exists() is exists


def test_date_done_is_none_before_the_end(result, store):
    store("STARTED")
    assert result.date_done is None


# ── get ──


def test_the_callback_is_called_with_id_and_value(result, store):
    store("SUCCESS", 8)
    seen = []
    result.get(timeout=0, callback=lambda *facts: seen.append(facts))
    assert seen == [("id-1", 8)]


def test_the_callback_is_not_called_for_a_failure_that_is_raised(result, store):
    store("FAILURE", describe_exception(ValueError("why")))
    seen = []
    with pytest.raises(ValueError, match="why"):
        result.get(timeout=0, callback=lambda *facts: seen.append(facts))
    assert seen == []


def test_on_message_is_called_with_the_document(result, store):
    store("SUCCESS", 8)
    seen = []
    result.get(timeout=0, on_message=seen.append)
    assert {"task_id": "id-1", "status": "SUCCESS", "result": 8}.items() <= seen[0].items()


def test_on_interval_is_called_while_it_waits(result, store):
    calls = []

    def look():
        calls.append(1)
        if len(calls) == 3:
            store("SUCCESS", 8)

    assert result.get(timeout=30, interval=0.001, on_interval=look) == 8
    assert len(calls) == 3


def test_a_parent_that_failed_is_raised(app, store):
    store("FAILURE", describe_exception(ValueError("why")), task_id="id-0")
    child = AsyncResult("id-1", app=app, parent=app.AsyncResult("id-0"))
    with pytest.raises(ValueError, match="why"):
        child.get(timeout=0)
    with pytest.raises(TimeoutError):
        child.get(timeout=0, follow_parents=False)


@pytest.mark.usefixtures("within_a_run")
def test_get_within_a_task_may_be_allowed_for_a_while(result, store):
    store("SUCCESS", 8)
    with allow_join_result():
        assert result.get(timeout=0) == 8
    with pytest.raises(RuntimeError):
        result.get(timeout=0)


@pytest.mark.usefixtures("within_a_run")
async def test_await_within_a_task_is_refused(result):
    with pytest.raises(RuntimeError, match="inside a task"):
        await result


# ── maybe_throw and throw ──


@pytest.mark.parametrize("method", ["maybe_throw", "maybe_reraise"])
def test_maybe_throw_gives_what_is_there_now(result, store, method):
    assert getattr(result, method)() is None
    store("SUCCESS", 8)
    assert getattr(result, method)() == 8


def test_maybe_throw_raises_a_failure_unless_told_not_to(result, store):
    store("FAILURE", describe_exception(ValueError("why")))
    with pytest.raises(ValueError, match="why"):
        result.maybe_throw()
    assert isinstance(result.maybe_throw(propagate=False), ValueError)


def test_a_retry_is_not_raised(result, store):
    store("RETRY", describe_exception(ValueError("why")))
    assert isinstance(result.maybe_throw(), ValueError)


def test_throw_raises_what_it_is_given(result):
    with pytest.raises(KeyError):
        result.throw(KeyError("k"))


# ── then ──


def wait_for(make):
    """Give `make` a callback, and wait for what it is called with."""
    seen, called = [], threading.Event()

    def callback(value):
        seen.append(value)
        called.set()

    make(callback)
    assert called.wait(30)
    return seen[0]


def test_then_calls_back_with_the_result_when_it_is_there(result, store):
    def make(callback):
        assert result.then(callback) is result
        store("SUCCESS", 8)

    assert wait_for(make) is result


def test_then_calls_back_after_a_failure_too(result, store):
    store("FAILURE", describe_exception(ValueError("why")))
    assert wait_for(result.then).failed()


def test_an_error_of_the_callback_is_told(result, store):
    store("SUCCESS", 8)
    error = KeyError("k")

    def fail(_result):
        raise error

    assert wait_for(lambda callback: result.then(fail, on_error=callback)) is error


# ── tasks that it called ──


@pytest.fixture
def family(store):
    """A task with two children, one of which has one too."""
    store("SUCCESS", 1, "a", children=[[["b", None], None], [["c", None], None]])
    store("SUCCESS", 2, "b")
    store("SUCCESS", 3, "c", children=[[["d", None], None]])
    store("SUCCESS", 4, "d")


def ids(pairs):
    return [(parent and parent.id, node.id) for parent, node in pairs]


@pytest.mark.usefixtures("family")
def test_iterdeps_goes_through_all_that_it_led_to(app):
    assert ids(app.AsyncResult("a").iterdeps()) == [(None, "a"), ("a", "b"), ("a", "c"), ("c", "d")]


@pytest.mark.usefixtures("family")
def test_collect_gives_each_with_its_value(app):
    assert [(node.id, value) for node, value in app.AsyncResult("a").collect()] == [
        ("a", 1),
        ("b", 2),
        ("c", 3),
        ("d", 4),
    ]


@pytest.mark.usefixtures("family")
def test_get_leaf_gives_the_last_value(app):
    assert app.AsyncResult("a").get_leaf() == 4


def test_iterdeps_raises_at_one_that_has_not_ended(app, store):
    store("STARTED", None, "a")
    with pytest.raises(IncompleteStream, match="task a has not ended"):
        list(app.AsyncResult("a").iterdeps())
    assert ids(app.AsyncResult("a").iterdeps(intermediate=True)) == [(None, "a")]


CELERYS_TUPLES = """
from celery import Celery
from celery.result import AsyncResult
app = Celery("oracle", broker="memory://", backend="cache+memory://")
result = AsyncResult("c", app=app, parent=AsyncResult("b", app=app, parent=AsyncResult("a", app=app)))
answer = [result.as_tuple(), result.as_list(), AsyncResult("a", app=app).as_tuple()]
"""


def test_ids_with_their_parents_are_told_as_by_celery(app):
    result = AsyncResult("c", app=app, parent=AsyncResult("b", app=app, parent=AsyncResult("a", app=app)))
    ours = [result.as_tuple(), result.as_list(), AsyncResult("a", app=app).as_tuple()]
    assert json.loads(json.dumps(ours)) == ask_celery(CELERYS_TUPLES)


# ── results of tasks that ran here ──


def eager(state="SUCCESS", value=8, **rest):
    return EagerResult("id-1", value, state, **rest)


def test_an_eager_result_is_there():
    result = eager(name="unit.job")
    assert (result.id, result.state, result.status, result.result, result.info) == ("id-1", "SUCCESS", "SUCCESS", 8, 8)
    assert (result.ready(), result.successful(), result.failed(), result.exists()) == (True, True, False, True)
    assert (result.get(), result.wait(), result.name, result.children) == (8, 8, "unit.job", [])


def test_an_eager_failure_is_raised_as_it_is():
    error = ValueError("why")
    result = eager("FAILURE", error, traceback="Traceback ...")
    with pytest.raises(ValueError, match="why") as caught:
        result.get()
    assert caught.value is error
    assert result.get(propagate=False) is error
    assert (result.traceback, result.failed()) == ("Traceback ...", True)


def test_an_eager_retry_is_given_back():
    assert isinstance(eager("RETRY", ValueError("why")).get(), ValueError)


async def test_an_eager_result_is_awaited_at_once():
    assert await eager() == 8


def test_a_revoked_eager_result_says_so():
    result = eager()
    result.revoke()
    assert result.state == "REVOKED"
    with pytest.raises(TaskRevokedError):
        result.get()


def test_an_eager_result_pickles():
    again = pickle.loads(pickle.dumps(eager(name="unit.job")))
    assert (again.id, again.state, again.get(), again.name) == ("id-1", "SUCCESS", 8, "unit.job")


def test_an_eager_result_calls_back():
    result = eager()
    assert wait_for(result.then) is result
