import asyncio
import builtins
import threading

import pytest

from celeriac import AsyncResult
from celeriac.documents import Document, describe_exception
from celeriac.engines.base import Record
from celeriac.exceptions import OperationalError, RemoteTraceback, ResultError, TaskRevokedError, TimeoutError
from celeriac.request import Context, Run, current_run


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
    token = current_run.set(Run("a", Context(), None, "celery", None))
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
    assert result.date_done == "2026-01-02T03:04:05+00:00"
    assert result.children == [AsyncResult("c-1", result.app)]


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
    assert AsyncResult("id-1", app, ignored=True).get() is None


async def test_an_ignored_result_is_awaited_at_once(app):
    assert await AsyncResult("id-1", app, ignored=True) is None


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
    app._results = Away(app.results, times=1)
    assert result.get(timeout=30) == 8


def test_an_outage_until_the_deadline_is_told(app, result):
    app._results = Away(app.results, times=10**9)
    with pytest.raises(OperationalError, match="away"):
        result.get(timeout=0.01)
    app._results = app._results.store


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
