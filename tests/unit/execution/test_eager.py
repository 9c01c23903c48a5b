"""Tasks run here and now: `apply`, and calls under `task_always_eager`."""

import asyncio
import contextvars

import pytest

from celeriac.documents import Document
from celeriac.exceptions import EncodeError, Ignore, Reject, Retry


@pytest.fixture
def eager_app(recording_app):
    recording_app.conf.task_always_eager = True
    return recording_app


def fail(error):
    raise error


def sent(app):
    return sum(queue.ready for queue in app.broker.queues())


# ── what apply returns ──


def test_apply_returns_the_value_as_it_is(recording_app):
    value = object()
    result = recording_app.task(lambda: value, name="unit.job").apply()
    assert (result.get(), result.state, result.ready(), result.name) == (value, "SUCCESS", True, "unit.job")


def test_apply_passes_arguments_as_they_are(recording_app):
    value = object()
    assert recording_app.task(lambda x: x, name="unit.job").apply((value,)).get() is value


def test_a_failure_is_raised_by_get_with_its_traceback_kept(recording_app):
    result = recording_app.task(lambda: fail(ValueError("why")), name="unit.job").apply()
    assert result.state == "FAILURE"
    assert result.traceback.endswith("ValueError: why\n")
    with pytest.raises(ValueError, match="why"):
        result.get()


@pytest.mark.parametrize("by_setting", [True, False])
def test_a_failure_is_raised_at_once_where_that_is_wanted(recording_app, by_setting):
    recording_app.conf.task_eager_propagates = by_setting
    task = recording_app.task(lambda: fail(ValueError("why")), name="unit.job")
    with pytest.raises(ValueError, match="why"):
        task.apply(throw=None if by_setting else True)


@pytest.mark.parametrize(("error", "state"), [(Ignore(), "IGNORED"), (Reject("no"), "REJECTED")])
def test_what_is_no_failure_is_not_raised(recording_app, error, state):
    result = recording_app.task(lambda: fail(error), name="unit.job").apply(throw=True)
    assert (result.state, result.get()) == (state, None)


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError()])
def test_what_would_end_a_worker_is_the_tasks_failure(recording_app, error):
    result = recording_app.task(lambda: fail(error), name="unit.job").apply()
    assert (result.state, result.result) == ("FAILURE", error)


# ── retries ──


def test_retries_follow_at_once(recording_app):
    @recording_app.task(name="unit.job", bind=True)
    def job(self):
        if self.request.retries < 3:
            self.retry(countdown=3600)
        return self.request.retries

    assert job.apply().get() == 3


def test_the_last_retry_is_the_failure(recording_app):
    @recording_app.task(name="unit.job", autoretry_for=(LookupError,), max_retries=2)
    def job():
        raise LookupError("again")

    result = job.apply()
    assert (result.state, repr(result.result)) == ("FAILURE", "LookupError('again')")


def test_a_retry_is_raised_where_exceptions_are(recording_app):
    task = recording_app.task(lambda self: self.retry(), name="unit.job", bind=True)
    with pytest.raises(Retry):
        task.apply(throw=True)


# ── always eager ──


def test_arguments_make_the_way_through_the_serializer(eager_app):
    task = eager_app.task(lambda x: x, name="unit.job")
    assert task.delay((1, 2)).get() == [1, 2]
    with pytest.raises(EncodeError, match="argument 1"):
        task.delay(object())


def test_nothing_is_sent(app):
    app.conf.task_always_eager = True
    task = app.task(lambda x: x, name="unit.job")
    assert [result.get() for result in task.delay_many([(1,), (2,)])] == [1, 2]
    assert sent(app) == 0


async def test_adelay_runs_it_here(eager_app):
    task = eager_app.task(lambda x: x, name="unit.job")
    assert await (await task.adelay(5)) == 5


def test_an_eager_task_waits_for_another_only_where_a_worker_would_let_it(eager_app):
    inner = eager_app.task(lambda: 5, name="unit.inner")
    outer = eager_app.task(lambda **how: inner.delay().get(**how) + 1, name="unit.outer")
    with pytest.raises(RuntimeError, match="inside a task"):
        outer.delay().get()
    assert outer.delay(disable_sync_subtasks=False).get() == 6


def test_a_nested_call_knows_its_parent(eager_app):
    inner = eager_app.task(lambda self: (self.request.parent_id, self.request.root_id), name="unit.inner", bind=True)
    outer = eager_app.task(lambda: inner.delay().result, name="unit.outer")
    result = outer.delay()
    assert result.get() == (result.id, result.id)


def test_a_retry_may_bring_other_callbacks(eager_app):
    ran = []
    note = eager_app.task(lambda *args: ran.append(args), name="unit.note")

    @eager_app.task(bind=True, name="unit.job")
    def job(self):
        if self.request.retries == 0:
            raise self.retry(countdown=0, link=note.s("new"))
        return 5

    job.apply_async(link=note.s("old"))
    assert ran == [(5, "new")]


def test_callbacks_run_before_the_result_is_there(eager_app):
    ran = []
    note = eager_app.task(lambda *args: ran.append(args), name="unit.note")
    eager_app.task(lambda: 5, name="unit.job").apply_async(link=[note.s(1), note.si(2)])
    assert ran == [(5, 1), (2,)]


def test_errbacks_of_both_kinds_run(eager_app):
    ran = []
    called = eager_app.task(lambda request, exc, trace: ran.append(repr(exc)), name="unit.called")
    sent = eager_app.task(lambda task_id: ran.append(f"after {task_id}"), name="unit.sent")
    task = eager_app.task(lambda: fail(ValueError("why")), name="unit.job")
    result = task.apply_async(link_error=[called.s(), sent.s()])
    assert ran == ["ValueError('why')", f"after {result.id}"]


def test_a_callback_of_apply_is_sent_where_only_that_call_is_eager(app):
    note = app.task(lambda *args: None, name="unit.note")
    app.task(lambda: 5, name="unit.job").apply(link=note.s())
    assert sent(app) == 1


def test_a_replacement_runs_under_the_same_id(eager_app):
    other = eager_app.task(lambda self: self.request.id, name="unit.other", bind=True)
    result = eager_app.task(lambda self: self.replace(other.s()), name="unit.job", bind=True).delay()
    assert result.get() == result.id


def test_the_failure_of_a_replacement_is_raised_where_failures_are(recording_app):
    other = recording_app.task(lambda: fail(ValueError("why")), name="unit.other")
    task = recording_app.task(lambda self: self.replace(other.s()), name="unit.job", bind=True)
    with pytest.raises(ValueError, match="why"):
        task.apply(throw=True)


# ── results that are kept ──


@pytest.mark.parametrize("of_task", [True, None])
def test_a_result_is_stored_where_that_is_wanted(app, of_task):
    app.conf.task_store_eager_result = of_task is None
    result = app.task(lambda: 5, name="unit.job", store_eager_result=of_task).apply()
    stored = Document.decode(result.id, app.results.get([result.id])[result.id])
    assert (stored.status, stored.result) == ("SUCCESS", 5)


def test_a_result_is_not_stored_otherwise(app):
    result = app.task(lambda: {object()}, name="unit.job").apply()
    assert app.results.get([result.id]) == {}


def test_a_stored_result_that_cannot_be_written_is_a_failure(app):
    result = app.task(lambda: {object()}, name="unit.job", store_eager_result=True).apply()
    assert isinstance(result.result, EncodeError)


# ── coroutine functions ──


def test_a_coroutine_function_runs_to_its_end(recording_app):
    @recording_app.task(name="unit.job")
    async def job():
        await asyncio.sleep(0)
        return 5

    assert job.apply().get() == 5


async def test_a_coroutine_function_runs_also_inside_of_an_event_loop(eager_app):
    @eager_app.task(name="unit.job", bind=True)
    async def job(self):
        await asyncio.sleep(0)
        return self.request.id, asyncio.get_running_loop()

    outer = asyncio.get_running_loop()
    result = job.apply()
    task_id, loop = result.get()
    assert task_id == result.id
    assert loop is not outer


async def test_its_failure_inside_of_an_event_loop_is_its_own(eager_app):
    @eager_app.task(name="unit.job")
    async def job():
        raise ValueError("why")

    result = job.delay()
    assert (result.state, repr(result.result)) == ("FAILURE", "ValueError('why')")


async def test_it_sees_the_context_variables_of_its_caller(eager_app):
    tenant = contextvars.ContextVar("tenant")

    @eager_app.task(name="unit.job")
    async def job():
        return tenant.get()

    tenant.set("a")
    assert job.delay().get() == "a"


async def test_nested_coroutine_tasks_inside_of_an_event_loop(eager_app):
    @eager_app.task(name="unit.inner")
    async def inner():
        return 5

    @eager_app.task(name="unit.outer")
    async def outer():
        return inner.delay().result + 1

    assert outer.delay().get() == 6
