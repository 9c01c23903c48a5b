"""Callbacks, errbacks, retries and replacements: what a run has sent, in the commit that ends it."""

import asyncio

import pytest

from celeriac import signals
from celeriac.documents import Document
from celeriac.engines.base import Ack, Bury
from celeriac.exceptions import Ignore, Reject
from celeriac.messages import Body, decode_body, encode_body

JSON = frozenset({"application/json"})


def document(commit):
    assert commit.record is not None
    return Document.decode(commit.record.task_id, commit.record.body)


def fail(error):
    raise error


@pytest.fixture
def noted(recording_app):
    return recording_app.task(name="unit.noted")(lambda *args: None)


@pytest.fixture
def execute(recording_app, executor, make_lease):
    """Execute a function as a bound task, with what travels in its message."""

    def execute(function, *, options=None, embed=None, **rest):
        recording_app.task(name="unit.job", bind=True, **(options or {}))(function)
        return executor.execute(make_lease(body=encode_body(Body([], {}, embed or {})).data, **rest))

    return execute


def args_of(outgoing):
    return decode_body(outgoing.message, JSON).args


# ── callbacks ──


def test_a_callback_is_in_the_commit_of_the_result(recording_app, execute, noted):
    commit = execute(lambda self: 5, embed={"callbacks": [noted.s(1)]})
    assert (commit.settle, document(commit).status) == (Ack(), "SUCCESS")
    (sent,) = commit.messages
    assert (sent.message.task, args_of(sent)) == ("unit.noted", [5, 1])
    assert recording_app.broker.published == []


def test_a_callback_knows_who_called_it(execute, noted):
    (sent,) = execute(lambda self: 5, embed={"callbacks": [noted.s()]}, root_id="r-1").messages
    assert (sent.message.headers["parent_id"], sent.message.headers["root_id"]) == ("id-1", "r-1")


def test_a_callback_is_a_child_of_its_caller(execute, noted):
    commit = execute(lambda self: 5, embed={"callbacks": [noted.s(), noted.s()]})
    assert [child[0][0] for child in document(commit).children] == [sent.message.id for sent in commit.messages]


def test_a_callback_takes_its_own_queue_and_time(execute, noted, clock):
    (sent,) = execute(
        lambda self: 5, embed={"callbacks": [noted.s().set(queue="mail", countdown=60, priority=7)]}
    ).messages
    assert (sent.queue, sent.due, sent.message.priority) == ("mail", clock.time() + 60, 7)


@pytest.mark.parametrize(("inherit", "priority"), [(False, 4), (True, 7)])
def test_a_callback_has_its_callers_priority_only_if_the_setting_says_so(recording_app, execute, inherit, priority):
    recording_app.conf.task_inherit_parent_priority = inherit
    noted = recording_app.task(name="unit.noted", priority=4)(lambda *args: None)
    (sent,) = execute(lambda self: 5, embed={"callbacks": [noted.s()]}, priority=7).messages
    assert sent.message.priority == priority


def test_a_callback_that_is_known_by_name_only_is_sent(execute):
    (sent,) = execute(
        lambda self: 5, embed={"callbacks": [{"task": "elsewhere.job", "args": [], "kwargs": {}}]}
    ).messages
    assert (sent.message.task, args_of(sent)) == ("elsewhere.job", [5])


@pytest.mark.parametrize(
    "callback",
    [
        {"task": "half \ud800"},
        {"task": "elsewhere.job", "options": {"queue": "half \ud800"}},
        {"task": "elsewhere.job", "options": {"headers": {"half": "\ud800"}}},
    ],
)
def test_a_callback_that_no_store_can_hold_is_a_failure_that_is_stored(execute, callback):
    commit = execute(lambda self: 5, embed={"callbacks": [callback]})
    assert isinstance(commit.settle, Bury)
    assert (document(commit).status, commit.messages) == ("FAILURE", ())


@pytest.mark.parametrize("error", [ValueError("why"), Ignore(), Reject("no")])
def test_no_callback_of_what_did_not_succeed(execute, noted, error):
    assert execute(lambda self: fail(error), embed={"callbacks": [noted.s()]}).messages == ()


def test_a_callback_whose_result_cannot_be_stored_is_not_sent_and_no_child(execute, noted):
    commit = execute(lambda self: {1}, embed={"callbacks": [noted.si()]})
    assert commit.messages == ()
    assert (document(commit).status, document(commit).children) == ("FAILURE", [])


def test_a_result_that_no_callback_can_take_is_a_failure(execute, noted):
    commit = execute(lambda self: {1}, embed={"callbacks": [noted.s()]}, ignore_result=True)
    assert isinstance(commit.settle, Bury)
    assert "argument 1 cannot be sent" in commit.settle.reason


def test_callbacks_stay_with_a_retried_task(execute, noted):
    (again,) = execute(lambda self: self.retry(countdown=5), embed={"callbacks": [noted.s()]}).messages
    assert again.message.id == "id-1"
    assert decode_body(again.message, JSON).embed["callbacks"][0]["task"] == "unit.noted"


# ── errbacks ──


def test_an_errback_of_one_argument_is_sent_with_the_id(recording_app, execute):
    tell = recording_app.task(name="unit.tell")(lambda task_id: None)
    commit = execute(lambda self: fail(ValueError()), embed={"errbacks": [tell.s()]})
    (sent,) = commit.messages
    assert (sent.message.task, args_of(sent), sent.message.headers["parent_id"]) == ("unit.tell", ["id-1"], "id-1")
    assert document(commit).children == []


def test_an_errback_of_three_arguments_is_called_in_place(recording_app, execute):
    called = []
    tell = recording_app.task(name="unit.tell")(lambda request, exc, trace: called.append((request.id, exc, trace)))
    commit = execute(lambda self: fail(ValueError("why")), embed={"errbacks": [tell.s()]})
    assert commit.messages == ()
    ((task_id, error, trace),) = called
    assert (task_id, repr(error)) == ("id-1", "ValueError('why')")
    assert trace.endswith("ValueError: why\n")


def test_an_errback_that_is_a_coroutine_function_is_run_to_its_end(recording_app, execute):
    called = []

    @recording_app.task(name="unit.tell")
    async def tell(request, exc, trace):
        await asyncio.sleep(0)
        called.append(request.id)

    execute(lambda self: fail(ValueError("why")), embed={"errbacks": [tell.s()]})
    assert called == ["id-1"]


def test_a_bound_errback_is_sent_whatever_it_takes(recording_app, execute):
    tell = recording_app.task(name="unit.tell", bind=True)(lambda self, *args: None)
    (sent,) = execute(lambda self: fail(ValueError()), embed={"errbacks": [tell.s()]}).messages
    assert args_of(sent) == ["id-1"]


def test_an_errback_whose_other_arguments_are_given_is_sent(recording_app, execute):
    tell = recording_app.task(name="unit.tell")(lambda task_id, word: None)
    (sent,) = execute(lambda self: fail(ValueError()), embed={"errbacks": [tell.s(word="so")]}).messages
    assert args_of(sent) == ["id-1"]


@pytest.mark.parametrize("error", [LookupError("why"), SystemExit(1)])
def test_an_errback_that_raises_changes_nothing(recording_app, execute, caplog, error):
    tell = recording_app.task(name="unit.tell")(lambda request, exc, trace: fail(error))
    commit = execute(lambda self: fail(ValueError("why")), embed={"errbacks": [tell.s()]})
    assert document(commit).result["exc_type"] == "ValueError"
    assert "errback" in caplog.text


# ── replacing ──


def test_the_replacement_has_the_id_the_callbacks_and_the_lineage(execute, noted):
    embed = {"callbacks": [noted.s(1)], "errbacks": [noted.s(2)]}
    commit = execute(lambda self: self.replace(noted.s(3)), embed=embed, root_id="r-1", parent_id="p-1")
    assert (commit.settle, commit.record) == (Ack(), None)
    (sent,) = commit.messages
    headers = sent.message.headers
    assert (sent.message.id, sent.message.task, args_of(sent)) == ("id-1", "unit.noted", [3])
    assert (headers["root_id"], headers["parent_id"], headers["replaced_task_nesting"]) == ("r-1", "p-1", 1)
    moved = decode_body(sent.message, JSON).embed
    assert [one["args"] for one in (*moved["callbacks"], *moved["errbacks"])] == [[1], [2]]


# ── rejecting ──


def test_who_waits_for_a_rejected_task_is_told(execute):
    commit = execute(lambda self: fail(Reject("not now")))
    assert isinstance(commit.settle, Bury)
    assert (document(commit).status, document(commit).result["exc_type"]) == ("FAILURE", "Reject")


def test_a_task_that_is_rejected_back_comes_again_as_redelivered(execute):
    commit = execute(lambda self: fail(Reject("not now", requeue=True)), queue="mail", retries=2)
    assert (commit.settle, commit.record) == (Ack(), None)
    (again,) = commit.messages
    assert (again.queue, again.due, again.message.retries) == ("mail", None, 2)
    assert again.message.headers["redelivered"] is True


# ── retrying ──


def test_a_retry_without_delay_is_due_at_once(execute):
    (again,) = execute(lambda self: self.retry(countdown=0)).messages
    assert (again.due, again.message.eta) == (None, None)


def test_a_retry_that_is_asked_for_twice_counts_once(execute):
    def job(self):
        self.retry(countdown=10, throw=False)
        self.retry(countdown=0, throw=False)

    (again,) = execute(job).messages
    assert again.due is None


def test_an_error_before_the_function_is_not_retried_by_itself(recording_app, executor, make_lease):
    class Careful(recording_app.Task):
        def before_start(self, *facts):
            raise ConnectionError

    recording_app.task(name="unit.job", base=Careful, autoretry_for=(ConnectionError,))(lambda: None)
    assert isinstance(executor.execute(make_lease()).settle, Bury)


def test_the_limit_that_a_task_gives_holds_for_automatic_retries(execute):
    def job(self):
        self.retry(exc=LookupError("enough"), max_retries=1)

    assert isinstance(execute(job, options={"autoretry_for": (LookupError,)}, retries=1).settle, Bury)


def test_an_automatic_retry_of_a_coroutine_function(execute):
    async def job(self):
        raise LookupError

    (again,) = execute(job, options={"autoretry_for": (LookupError,), "retry_kwargs": {"countdown": 7}}).messages
    assert again.message.retries == 1


def test_a_retry_may_go_by_another_serializer(execute):
    (again,) = execute(lambda self: self.retry(countdown=0, serializer="yaml")).messages
    assert again.message.content_type == "application/x-yaml"


# ── handlers and signals ──


@pytest.mark.parametrize("error", [RuntimeError("in the handler"), SystemExit(1)])
@pytest.mark.parametrize("handler", ["on_failure", "after_return"])
def test_the_outcome_stands_whatever_a_handler_raises(recording_app, executor, make_lease, handler, error):
    base = type("Base", (recording_app.Task,), {handler: lambda *facts: fail(error)})
    recording_app.task(name="unit.job", base=base)(lambda: fail(ValueError("why")))
    assert document(executor.execute(make_lease())).result["exc_type"] == "ValueError"


def test_what_before_start_raises_fails_the_run(recording_app, executor, make_lease):
    base = type("Base", (recording_app.Task,), {"before_start": lambda *facts: fail(ValueError("why"))})
    recording_app.task(name="unit.job", base=base)(lambda: 5)
    assert document(executor.execute(make_lease())).result["exc_type"] == "ValueError"


def test_a_success_stands_whatever_its_handler_raises(recording_app, executor, make_lease):
    base = type("Base", (recording_app.Task,), {"on_success": lambda *facts: fail(ValueError("why"))})
    recording_app.task(name="unit.job", base=base)(lambda: 5)
    assert document(executor.execute(make_lease())).result == 5


def test_einfo_has_the_exception_and_its_traceback(recording_app, executor, make_lease):
    seen = []

    class Base(recording_app.Task):
        def on_failure(self, exc, task_id, args, kwargs, einfo):
            seen.append((exc, einfo))

    recording_app.task(name="unit.job", base=Base)(lambda: fail(ValueError("why")))
    executor.execute(make_lease())
    ((error, einfo),) = seen
    assert (einfo.exception, einfo.type, einfo.tb) == (error, ValueError, error.__traceback__)
    assert str(einfo) == einfo.traceback
    assert einfo.traceback.endswith("ValueError: why\n")


def test_arguments_that_the_result_serializer_cannot_write_are_left_out(recording_app, execute, run):
    recording_app.conf.result_extended = True
    recording_app.conf.accept_content = ["json", "yaml"]
    body = encode_body(Body([], {"value": {1, 2}}), "yaml")
    commit = execute(lambda self, value: 5)
    assert document(commit).name == "unit.job"
    commit = run(lambda value: 5, body=body.data, content_type=body.content_type)
    assert (document(commit).result, document(commit).args) == (5, None)


def test_an_unknown_task_is_announced(executor, make_lease):
    heard = []

    def hear(**facts):
        heard.append((facts["name"], facts["id"], type(facts["exc"]).__name__))

    signals.task_unknown.connect(hear)
    try:
        executor.execute(make_lease(task="unit.absent"))
    finally:
        signals.task_unknown.disconnect(hear)
    assert heard == [("unit.absent", "id-1", "NotRegistered")]
