import asyncio
import json
import logging
import os
import re
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from celeriac.documents import Document
from celeriac.engines.base import Ack, Bury, Commit, Keep, Requeue
from celeriac.exceptions import NotRegistered, Reject, RemoteError, Retry, TimeLimitExceeded
from celeriac.execution.executor import UNKNOWN_SINCE
from celeriac.messages import Body, Malformed, decode_body, encode_body
from celeriac.past import Loss, Past
from celeriac.task import Task


def document(commit) -> Document:
    assert commit.record is not None
    return Document.decode(commit.record.task_id, commit.record.body)


def fail(error):
    raise error


# ── how a run ends ──


def test_a_success_is_acknowledged_with_its_result(run):
    commit = run(lambda x: x + 1, 4)
    assert (commit.token, commit.settle, commit.messages) == (7, Ack(), ())
    assert document(commit) == Document("id-1", "SUCCESS", 5, date_done="2026-01-02T03:04:05+00:00")


def test_a_result_is_kept_as_long_as_the_settings_say_under_the_leases_fence(recording_app, run):
    recording_app.conf.result_expires = 60
    record = run(lambda: 1).record
    assert (record.ttl_s, record.fence) == (60, 7)


def test_a_failure_is_buried_with_its_traceback_and_stored(run):
    commit = run(lambda: fail(ValueError("why")))
    assert commit.settle.reason == "ValueError('why')"
    stored = document(commit)
    assert stored.status == "FAILURE"
    assert stored.result == {"exc_type": "ValueError", "exc_message": ["why"], "exc_module": "builtins"}
    assert stored.traceback == commit.settle.detail
    assert stored.traceback.endswith("ValueError: why\n")


@pytest.mark.parametrize("style", ["sync", "async"])
def test_a_traceback_begins_with_the_tasks_own_frame(run, style):
    async def job():
        fail(ValueError("why"))

    lines = document(run(job if style == "async" else lambda: fail(ValueError("why")))).traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert f'File "{__file__}"' in lines[1]


def test_frames_of_a_folder_that_begins_like_ours_are_the_tasks_own(run):
    import celeriac

    names = {}
    file = os.path.dirname(celeriac.__file__) + "_shop/tasks.py"
    exec(compile("def job():\n    helper()\ndef helper():\n    1 / 0\n", file, "exec"), names)
    trace = document(run(names["job"])).traceback
    assert ", in job\n" in trace
    assert ", in helper\n" in trace


def test_wrong_arguments_of_a_foreign_producer_are_a_failure(run):
    assert document(run(lambda x: x)).result["exc_type"] == "TypeError"


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()])
def test_what_would_end_the_worker_is_a_failure_of_the_task(run, error):
    commit = run(lambda: fail(error))
    assert isinstance(commit.settle, Bury)
    assert document(commit).result["exc_type"] == type(error).__name__
    assert isinstance(document(commit).value(), RemoteError)


@pytest.mark.parametrize("error", [SystemExit(1), asyncio.CancelledError(), ValueError("why")])
def test_a_coroutine_that_raises_is_a_failure_and_the_next_one_runs(recording_app, executor, make_lease, error):
    async def broken():
        raise error

    async def fine():
        return 5

    recording_app.task(name="unit.broken")(broken)
    recording_app.task(name="unit.fine")(fine)
    assert document(executor.execute(make_lease(task="unit.broken"))).status == "FAILURE"
    assert document(executor.execute(make_lease(task="unit.fine"))).result == 5


def test_coroutines_of_a_slot_share_one_event_loop(run):
    loops = []

    async def job():
        loops.append(asyncio.get_running_loop())

    run(job)
    run(job)
    assert loops[0] is loops[1]


def test_a_coroutine_sees_its_request(recording_app, executor, make_lease):
    @recording_app.task(name="unit.job", bind=True)
    async def job(self):
        await asyncio.sleep(0)
        return self.request.id

    assert document(executor.execute(make_lease())).result == "id-1"


def test_a_return_value_that_cannot_be_stored_is_a_failure_that_says_so(run):
    commit = run(lambda: {1, 2})
    assert isinstance(commit.settle, Bury)
    result = document(commit).result
    assert result["exc_type"] == "EncodeError"
    assert "return value of unit.job cannot be stored: JSON has no form for set" in result["exc_message"][0]


def test_a_return_value_whose_hook_raises_is_a_failure(run):
    class Money:
        def __json__(self):
            raise LookupError("no rate")

    def job():
        return Money()

    assert document(run(job)).result["exc_type"] == "EncodeError"


def test_a_broken_repr_does_not_end_the_worker(run):
    class Broken(dict):
        def __repr__(self):
            raise RuntimeError

    def job():
        return Broken()

    assert isinstance(run(job).settle, Ack)


def test_an_exception_with_a_broken_repr_does_not_end_the_worker(run, monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)

    class Broken(Exception):
        def __repr__(self):
            raise RuntimeError

        __str__ = __repr__

    commit = run(lambda: fail(Broken("why")))
    assert "repr raises RuntimeError" in commit.settle.reason
    assert document(commit).status == "FAILURE"


def test_an_exception_that_throws_lists_is_not_buried(run):
    commit = run(lambda: fail(LookupError("as always")), options={"throws": (LookupError,)})
    assert commit.settle == Ack()
    assert document(commit).status == "FAILURE"


def test_calls_within_a_run_are_its_children(recording_app, run):
    other = recording_app.task(name="unit.other")(print)

    def job():
        other.apply_async(task_id="c-1")

    assert document(run(job)).children == [[["c-1", None], None]]


def test_the_parent_stands_in_the_result(run):
    assert document(run(lambda: 1, parent_id="p-1")).parent_id == "p-1"


def test_a_lone_surrogate_in_a_traceback_can_be_written_to_any_log(run):
    commit = run(lambda: fail(OSError("\ud800.txt")))
    assert commit.settle.detail.encode("utf-8")
    assert document(commit).value().args == ("\ud800.txt",)


# ── results that nobody wants ──


def test_an_ignored_result_is_not_stored(run):
    assert run(lambda: 5, ignore_result=True).record is None


@pytest.mark.parametrize(
    ("of_message", "of_task", "of_settings", "stored"),
    [
        (None, True, False, False),
        (None, None, True, False),
        (None, False, True, True),
        (None, None, False, True),
        (False, True, True, True),
    ],
)
def test_a_producer_that_does_not_say_leaves_it_to_the_task(
    recording_app, run, of_message, of_task, of_settings, stored
):
    recording_app.conf.task_ignore_result = of_settings
    commit = run(lambda: 5, ignore_result=of_message, options={"ignore_result": of_task})
    assert (commit.record is not None) is stored


def test_an_ignored_failure_is_buried_and_not_stored(run):
    commit = run(lambda: fail(ValueError()), ignore_result=True)
    assert isinstance(commit.settle, Bury)
    assert commit.record is None


@pytest.mark.parametrize(
    ("of_task", "of_settings", "stored"), [(True, False, True), (None, True, True), (False, True, False)]
)
def test_an_ignored_failure_is_stored_where_that_is_wanted(recording_app, run, of_task, of_settings, stored):
    recording_app.conf.task_store_errors_even_if_ignored = of_settings
    options = {"store_errors_even_if_ignored": of_task}
    assert (run(lambda: fail(ValueError()), ignore_result=True, options=options).record is not None) is stored


def test_an_ignored_result_that_cannot_be_written_is_no_failure(run):
    assert run(lambda: {1, 2}, ignore_result=True).settle == Ack()


# ── retries ──


@pytest.fixture
def retrying(recording_app, executor, make_lease):
    def execute(function, *, options=None, **headers):
        recording_app.task(name="unit.job", bind=True, **(options or {}))(function)
        return executor.execute(make_lease(**headers))

    return execute


def again(self):
    try:
        raise ValueError("why")
    except ValueError as error:
        raise self.retry(exc=error, countdown=30) from None


def test_a_retry_ends_the_run_and_publishes_the_next_in_one_commit(retrying, clock):
    commit = retrying(again, retries=1)
    assert commit.settle == Ack()
    (next_one,) = commit.messages
    assert (next_one.message.id, next_one.message.retries, next_one.queue) == ("id-1", 2, "celery")
    assert next_one.due == clock.time() + 30


def test_a_retry_is_not_redelivered_though_its_run_was(retrying):
    def job(self):
        assert self.request.delivery_info["redelivered"]
        self.retry(countdown=0)

    (again,) = retrying(job, redelivered=True).messages
    assert "redelivered" not in again.message.headers


def test_a_retry_stores_the_reason_without_a_date(retrying):
    stored = document(retrying(again))
    assert (stored.status, stored.date_done, stored.result["exc_type"]) == ("RETRY", None, "ValueError")
    assert "ValueError: why" in stored.traceback


def test_the_last_retry_is_a_failure_of_the_reason(retrying):
    commit = retrying(again, retries=3)
    assert commit.messages == ()
    assert commit.settle.reason == "ValueError('why')"
    assert document(commit).status == "FAILURE"


def test_a_retry_that_is_not_thrown_lets_the_run_return(retrying):
    def job(self):
        self.retry(throw=False, countdown=30)
        return 5

    commit = retrying(job)
    assert (document(commit).status, document(commit).result) == ("SUCCESS", 5)
    assert [item.message.retries for item in commit.messages] == [1]


def test_a_run_that_fails_after_asking_for_a_retry_publishes_nothing(retrying):
    def job(self):
        self.retry(throw=False, countdown=30)
        raise ValueError("why")

    commit = retrying(job)
    assert commit.messages == ()
    assert isinstance(commit.settle, Bury)


def test_a_retry_raised_by_hand_is_a_failure(run):
    assert isinstance(run(lambda: fail(Retry("later"))).settle, Bury)


def test_an_ignored_result_stores_no_retry(retrying):
    commit = retrying(again, ignore_result=True)
    assert commit.record is None
    assert len(commit.messages) == 1


# ── what does not run ──


@pytest.fixture
def never(recording_app):
    ran = []
    recording_app.task(name="unit.job", typing=False)(lambda *args: ran.append(args))
    yield
    assert ran == []


def test_an_expired_message_is_revoked(never, executor, make_lease):
    commit = executor.execute(make_lease(expires="2026-01-02T03:04:05+00:00"))
    assert commit.settle == Ack()
    stored = document(commit)
    assert (stored.status, stored.result["exc_type"], stored.result["exc_message"]) == (
        "REVOKED",
        "TaskRevokedError",
        ["expired"],
    )


def test_a_message_that_expires_later_runs(run):
    assert document(run(lambda: 5, expires="2026-01-02T03:04:06+00:00")).result == 5


def test_a_message_for_later_waits_in_the_store(never, executor, make_lease):
    commit = executor.execute(make_lease(eta="2026-01-02T03:05:05+00:00"))
    assert commit.settle == Requeue(60.0)
    assert commit.record is None


@pytest.mark.parametrize("name", ["eta", "expires"])
@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_times_at_the_ends_of_the_calendar_do_not_end_the_worker(recording_app, executor, make_lease, name, moment):
    recording_app.task(name="unit.job")(lambda: 5)
    assert executor.execute(make_lease(**{name: moment})).token == 7


def test_an_unknown_task_waits_for_a_worker_that_knows_it(executor, make_lease, clock):
    commit = executor.execute(make_lease(task="unit.absent", queue="mail", retries=2))
    assert (commit.settle, commit.record) == (Ack(), None)
    (later,) = commit.messages
    assert (later.queue, later.due) == ("mail", clock.time() + 5)
    assert later.message.headers[UNKNOWN_SINCE] == clock.time()
    assert (later.message.id, later.message.retries) == ("id-1", 2)


def test_an_unknown_task_remembers_since_when(executor, make_lease, clock):
    since = clock.time() - 100
    (later,) = executor.execute(make_lease(task="unit.absent", **{UNKNOWN_SINCE: since})).messages
    assert later.message.headers[UNKNOWN_SINCE] == since


def test_an_unknown_task_is_buried_when_nobody_came_who_knows_it(executor, make_lease, clock):
    commit = executor.execute(make_lease(task="unit.absent", **{UNKNOWN_SINCE: clock.time() - 300}))
    assert "no worker of queue celery has had a task 'unit.absent' for 0:05:00" in commit.settle.reason
    assert isinstance(document(commit).value(), NotRegistered)
    assert document(commit).result["exc_message"] == ["unit.absent"]


def test_an_unknown_task_does_not_wait_where_waiting_is_off(recording_app, executor, make_lease):
    recording_app.conf.unknown_task_wait = 0
    assert isinstance(executor.execute(make_lease(task="unit.absent")).settle, Bury)


@pytest.mark.parametrize("since", ["yesterday", None, [5], {}])
def test_a_strange_header_of_an_unknown_task_counts_from_now(executor, make_lease, clock, since):
    (later,) = executor.execute(make_lease(task="unit.absent", **{UNKNOWN_SINCE: since})).messages
    assert later.message.headers[UNKNOWN_SINCE] == clock.time()


def test_an_unknown_task_is_logged_once(executor, make_lease, caplog):
    for _ in range(3):
        executor.execute(make_lease(task="unit.absent"))
    assert caplog.text.count("not registered here: 'unit.absent'") == 1


def test_bytes_that_are_no_message_are_buried(executor, make_lease):
    commit = executor.execute(make_lease(Malformed(b"\xff", "not JSON: bad", None, None)))
    assert commit.settle == Bury("not JSON: bad")
    assert commit.record is None


def test_who_waits_for_a_malformed_message_is_told_where_its_id_is_readable(executor, make_lease):
    commit = executor.execute(make_lease(Malformed(b"\xff", "the message has no body", "id-9", "unit.job")))
    assert commit.record.task_id == "id-9"
    assert document(commit).result["exc_type"] == "DecodeError"


@pytest.mark.parametrize("body", [b"\xff", b"{}", b"[" * 100_000])
def test_a_body_that_cannot_be_read_is_buried(never, executor, make_lease, body):
    commit = executor.execute(make_lease(body=body))
    assert isinstance(commit.settle, Bury)
    assert document(commit).result["exc_type"] == "DecodeError"


@pytest.mark.parametrize(
    "wrong", [{"timelimit": 5}, *({"body": encode_body(Body([], {}, {n: 5})).data} for n in ("callbacks", "errbacks"))]
)
def test_what_would_fail_after_the_run_is_buried_before_it(never, executor, make_lease, wrong):
    commit = executor.execute(make_lease(**wrong))
    assert isinstance(commit.settle, Bury)
    assert document(commit).result["exc_type"] == "DecodeError"


def test_content_that_is_not_accepted_is_buried(never, executor, make_lease):
    commit = executor.execute(make_lease(content_type="application/x-python-serialize", body=b"\x80\x04."))
    assert "not accepted" in commit.settle.reason


def test_a_buried_message_whose_result_is_ignored_stores_nothing(executor, make_lease):
    assert executor.execute(make_lease(task="unit.job", body=b"\xff", ignore_result=True)).record is None


# ── at most once ──


@pytest.mark.parametrize(("of_task", "of_settings"), [(False, True), (None, False), (False, False)])
def test_an_at_most_once_run_is_marked_before_it_begins(recording_app, run, keeper, of_task, of_settings):
    recording_app.conf.task_acks_late = of_settings
    seen = []
    run(lambda: seen.append(list(keeper.begun)), options={"acks_late": of_task})
    assert seen == [[7]]


@pytest.mark.parametrize(("of_task", "of_settings"), [(True, False), (None, True)])
def test_an_at_least_once_run_is_not_marked(recording_app, run, keeper, of_task, of_settings):
    recording_app.conf.task_acks_late = of_settings
    run(lambda: 5, options={"acks_late": of_task})
    assert keeper.begun == []


def test_an_at_most_once_run_whose_lease_is_lost_does_not_begin(run, keeper):
    keeper.holds = False
    ran = []
    commit = run(lambda: ran.append(1), options={"acks_late": False})
    assert ran == []
    assert commit == Commit(7, Requeue())  # which is refused, as the lease is someone else's


def test_a_run_that_had_begun_elsewhere_does_not_begin_again(never, executor, make_lease):
    commit = executor.execute(make_lease(begun=True))
    assert "at-most-once" in commit.settle.reason
    assert document(commit).result["exc_type"] == "WorkerLostError"


def test_a_run_that_had_begun_does_not_wait_for_a_worker_that_would_begin_it_again(executor, make_lease):
    commit = executor.execute(make_lease(task="unit.absent", begun=True))
    assert commit.messages == ()  # an unknown task's message is published anew, and nothing would be known of its run
    assert "at-most-once" in commit.settle.reason


# ── runs that were lost with their process ──


@pytest.fixture
def lose(recording_app, executor, make_lease):
    """Have a task whose run was lost claimed again; its commit, and what its handlers were told."""

    def lose(loss, history=(), options=None, **rest):
        told = []

        def note(name):
            return lambda self, *facts: told.append((name, *facts[:2]))

        members = {name: note(name) for name in ("before_start", "on_failure", "on_retry", "after_return")}
        base = type("Told", (Task,), members)
        task = recording_app.task(name="unit.job", base=base, **(options or {}))(lambda: told.append("run"))
        lease = replace(make_lease(task=task.name, **rest), past=Past(0, history, loss))
        return executor.execute(lease), told

    return lose


def test_a_lost_run_has_its_handlers_called_and_is_buried_with_its_history(lose):
    loss = Loss("it ran too long", 2.5)
    commit, told = lose(loss, ("first", "second"))
    assert commit.settle == Bury("it ran too long", "first\n\nsecond")
    (first, *_), (second, status, error) = told
    assert (first, second, status) == ("on_failure", "after_return", "FAILURE")
    assert (type(error), error.args) == (TimeLimitExceeded, (2.5,))
    assert document(commit).result["exc_type"] == "TimeLimitExceeded"
    assert document(commit).traceback is None  # as Celery stores it


def test_its_errbacks_are_sent_with_its_end(recording_app, lose):
    recording_app.task(name="unit.errback")(lambda task_id: None)
    errback = recording_app.signature("unit.errback")
    commit, _ = lose(Loss("why"), body=encode_body(Body([], {}, {"errbacks": [dict(errback)]})).data)
    (sent,) = commit.messages
    assert sent.message.task == "unit.errback"


def test_it_is_not_revoked_for_having_expired_meanwhile(lose):
    commit, told = lose(Loss("why"), expires="2000-01-01T00:00:00+00:00")
    assert [name for name, *_ in told] == ["on_failure", "after_return"]
    assert document(commit).status == "FAILURE"


def test_an_expected_error_leaves_no_letter_there_either(lose):
    commit, _ = lose(Loss("why", 1.0), options={"throws": (TimeLimitExceeded,)})
    assert commit.settle == Ack()


@pytest.mark.parametrize("given", [{"task": "unit.unknown"}, {"body": b"\xff"}])
def test_a_lost_run_whose_handlers_nobody_can_call_is_buried(executor, make_lease, given):
    lease = replace(make_lease(**given), past=Past(0, ("first",), Loss("why")))
    commit = executor.execute(lease)
    assert commit.settle == Bury("why", "first")
    assert document(commit).result["exc_type"] == "WorkerLostError"


def test_a_lost_run_is_retried_where_that_is_asked_for(lose):
    options = {"retry_on_worker_lost": True, "max_retries": 2, "default_retry_delay": 0}
    commit, told = lose(Loss("why"), options=options, retries=1)
    assert commit.settle == Ack()
    (again,) = commit.messages
    assert again.message.retries == 2
    assert [name for name, *_ in told] == ["on_retry"]
    assert document(commit).status == "RETRY"


@pytest.mark.parametrize(("loss", "retries"), [(Loss("why"), 2), (Loss("why", 2.0), 0)])
def test_it_is_not_retried_too_often_nor_after_its_hard_limit(lose, loss, retries):
    commit, told = lose(loss, options={"retry_on_worker_lost": True, "max_retries": 2}, retries=retries)
    assert isinstance(commit.settle, Bury)
    assert [name for name, *_ in told] == ["on_failure", "after_return"]


def test_the_letter_of_a_task_that_fails_tells_of_its_earlier_crashes_too(recording_app, executor, make_lease):
    recording_app.task(name="unit.job")(lambda: fail(ValueError("why")))
    lease = replace(make_lease(task="unit.job"), past=Past(0, ("first",)))
    commit = executor.execute(lease)
    assert commit.settle.detail.startswith("first\n\nTraceback")


# ── reports during a run ──


@pytest.mark.parametrize(
    ("of_task", "of_settings", "reported"), [(True, False, True), (None, True, True), (False, True, False)]
)
def test_started_is_reported_where_that_is_wanted(recording_app, run, keeper, of_task, of_settings, reported):
    recording_app.conf.task_track_started = of_settings
    run(lambda: 5, options={"track_started": of_task})
    assert (len(keeper.reports) == 1) is reported


def test_a_started_report_says_where_and_keeps_the_lease(run, keeper):
    run(lambda: 5, options={"track_started": True})
    (commit,) = keeper.reports
    assert (commit.token, commit.settle, commit.record.fence) == (7, Keep(), 7)
    assert document(commit) == Document("id-1", "STARTED", {"pid": os.getpid(), "hostname": "celery@unit"})


def test_update_state_is_reported_under_the_lease(retrying, keeper):
    def job(self):
        self.update_state(state="PROGRESS", meta={"done": 3})

    retrying(job)
    (commit,) = keeper.reports
    assert (commit.token, commit.settle) == (7, Keep())
    assert document(commit) == Document("id-1", "PROGRESS", {"done": 3})


def test_a_state_that_cannot_be_written_is_a_failure_of_the_task(retrying):
    commit = retrying(lambda self: self.update_state(state="PROGRESS", meta={1}))
    assert document(commit).result["exc_type"] == "EncodeError"


def test_an_ignored_result_reports_nothing(retrying, keeper):
    retrying(lambda self: self.update_state(state="PROGRESS"), ignore_result=True, options={"track_started": True})
    assert keeper.reports == []


# ── the log, in the words Celery users know ──


def test_the_log_tells_the_life_of_a_task(run, caplog):
    caplog.set_level(logging.INFO)
    run(lambda: 5)
    received, succeeded = (record.getMessage() for record in caplog.records)
    assert received == "Task unit.job[id-1] received"
    assert re.fullmatch(r"Task unit\.job\[id-1\] succeeded in [\d.e-]+s: 5", succeeded)


def test_the_log_tells_of_a_failure_with_its_traceback(run, caplog):
    run(lambda: fail(ValueError("why")))
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.getMessage().startswith("Task unit.job[id-1] raised unexpected: ValueError('why')\nTraceback")


def test_the_log_tells_of_a_retry(retrying, caplog):
    caplog.set_level(logging.INFO)
    retrying(again)
    assert "Task unit.job[id-1] retry: Retry in 30s: ValueError('why')" in caplog.text


def test_the_log_tells_of_an_expired_task(never, executor, make_lease, caplog):
    caplog.set_level(logging.INFO)
    executor.execute(make_lease(expires="2026-01-01T00:00:00+00:00"))
    assert "Discarding revoked task: unit.job[id-1]" in caplog.text


def test_a_task_that_was_sent_by_celery_can_be_retried_with_all_its_headers(retrying):
    headers = {"shadow": None, "timelimit": [None, None], "stamps": {}, "argsrepr": "(2, 3)", "big": 2**70}
    (next_one,) = retrying(again, **headers).messages
    kept = {name: next_one.message.headers[name] for name in headers}
    assert json.loads(json.dumps(kept)) == headers
    assert decode_body(next_one.message, frozenset({"application/json"})).args == []


def test_retry_at_a_time_is_due_then(retrying):
    moment = datetime(2026, 7, 1, tzinfo=UTC)

    def job(self):
        raise self.retry(eta=moment)

    (next_one,) = retrying(job).messages
    assert next_one.due == moment.timestamp()


@pytest.mark.parametrize("follows", ["chain", "chord"])
def test_a_message_that_others_should_follow_is_buried_and_not_run(recording_app, executor, make_lease, follows):
    ran = []
    recording_app.task(name="unit.first")(lambda: ran.append(True))
    body = encode_body(Body([], {}, {follows: [{"task": "unit.next"}]})).data
    commit = executor.execute(make_lease(task="unit.first", body=body))
    assert follows in commit.settle.reason
    assert document(commit).status == "FAILURE"
    assert ran == []


# ── what nobody has foreseen ──


@pytest.mark.parametrize("style", ["sync", "async"])
@pytest.mark.parametrize("broken", ["celeriac.execution.executor.context_of", "celeriac.execution.run.OneRun._failed"])
def test_a_message_around_whose_run_something_raises_is_buried_and_harms_no_slot(
    recording_app, executor, make_lease, caplog, monkeypatch, broken, style
):
    class Caller:
        async def call(self, call):
            return call.function(*call.args, **call.kwargs)

    recording_app.task(name="unit.job")(lambda: fail(ValueError("why")))
    monkeypatch.setattr(broken, lambda *_, **__: fail(TypeError("unforeseen")))
    lease = make_lease(task="unit.job")
    commit = executor.execute(lease) if style == "sync" else asyncio.run(executor.execute_async(lease, Caller()))
    assert commit.settle.reason.startswith("celeriac could not run it to its end: TypeError(")
    assert (commit.token, document(commit).status, commit.messages) == (7, "FAILURE", ())
    assert "Buried a message of queue celery" in caplog.text


def test_it_is_buried_also_where_no_failure_can_be_stored(recording_app, executor, make_lease, monkeypatch):
    def broken(document):
        raise LookupError("no serializer")

    monkeypatch.setattr(recording_app, "encode_document", broken)
    recording_app.task(name="unit.job")(lambda: 5)
    commit = executor.execute(make_lease(task="unit.job"))
    assert (type(commit.settle), commit.record) == (Bury, None)


@pytest.mark.parametrize("end", ["retry", "give back"])
def test_a_run_ends_the_time_for_which_its_task_was_unknown(recording_app, executor, make_lease, clock, end):
    @recording_app.task(name="unit.job", bind=True)
    def job(self):
        raise self.retry(countdown=1) if end == "retry" else Reject("later", requeue=True)

    (again,) = executor.execute(make_lease(task="unit.job", **{UNKNOWN_SINCE: clock.time() - 299})).messages
    assert UNKNOWN_SINCE not in again.message.headers


@pytest.mark.parametrize("shadow", [7, "deep"])
def test_a_name_for_the_log_that_is_none_keeps_no_run_from_its_end(run, caplog, shadow):
    caplog.set_level(logging.INFO, "celeriac.worker")
    if shadow == "deep":
        for _ in range(100_000):
            shadow = {"a": shadow}
    commit = run(lambda: 5, shadow=shadow)
    assert isinstance(commit.settle, Ack)
    assert "unit.job[id-1] succeeded" in caplog.text
    while isinstance(shadow, dict):
        shadow = shadow.popitem()[1]  # to free it all at once is too deep as well
