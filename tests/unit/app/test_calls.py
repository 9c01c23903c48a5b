import pytest

from celeriac.engines.disabled import DisabledResults
from celeriac.exceptions import AlwaysEagerIgnored, OperationalError, QueueNotFound
from celeriac.messages import decode_body
from celeriac.queues import Queue
from celeriac.result import AsyncResult

JSON = frozenset({"application/json"})


@pytest.fixture
def job(recording_app):
    @recording_app.task(name="unit.job", queue="mail", priority=4, time_limit=30, expires=60, ignore_result=True)
    def job(x):
        return x

    return job


# ── send_task ──


def test_a_task_that_is_not_known_here_is_sent(recording_app, sent):
    result = recording_app.send_task("unit.other", (1,), {"y": 2}, queue="mail", task_id="id-1")
    body = decode_body(sent().message, JSON)
    assert (sent().message.task, sent().queue, body.args, body.kwargs) == ("unit.other", "mail", [1], {"y": 2})
    assert (result.id, result.app) == ("id-1", recording_app)


def test_a_task_that_is_known_is_sent_with_its_options(recording_app, job, sent, clock):
    result = recording_app.send_task("unit.job", (1,))
    message = sent().message
    assert (sent().queue, message.priority, message.headers["timelimit"]) == ("mail", 4, [30, None])
    assert message.expires.timestamp() == clock.time() + 60
    assert result.ignored


def test_options_of_the_call_win_over_the_known_tasks(recording_app, job, sent):
    recording_app.send_task("unit.job", (1,), queue="letters", priority=1, time_limit=None)
    assert (sent().queue, sent().message.priority) == ("letters", 1)
    assert "timelimit" not in sent().message.headers


def test_arguments_are_not_checked_for_a_name(recording_app, job, sent):
    recording_app.send_task("unit.job", (1, 2, 3))
    assert decode_body(sent().message, JSON).args == [1, 2, 3]


def test_sending_completes_no_app(make_app, recording_broker):
    app = make_app(autofinalize=False)
    app.stores._broker = recording_broker
    app.send_task("unit.other")
    assert not app.finalized


def test_always_eager_does_not_hold_for_a_name_and_that_is_told(recording_app, sent):
    recording_app.conf.task_always_eager = True
    with pytest.warns(AlwaysEagerIgnored, match="send_task") as told:
        recording_app.send_task("unit.other")
    assert told[0].filename == __file__
    assert sent().message.task == "unit.other"


@pytest.mark.parametrize("send", ["send_task", "apply_async"])
def test_another_class_of_result_may_be_asked_for(recording_app, job, send):
    class Mine(AsyncResult):
        pass

    if send == "send_task":
        result = recording_app.send_task("unit.job", (1,), result_cls=Mine, ignore_result=False)
    else:
        result = job.apply_async((1,), result_cls=Mine, ignore_result=False)
    assert isinstance(result, Mine)


# ── retries of a publish ──


@pytest.mark.parametrize(
    ("settings", "options", "tries"),
    [
        ({}, {}, 4),
        ({}, {"retry": False}, 1),
        ({}, {"retry_policy": {"max_retries": 1}}, 2),
        ({"task_publish_retry": False}, {}, 1),
        ({"task_publish_retry": False}, {"retry": True}, 4),
        ({"task_publish_retry_policy": {"max_retries": 2, "interval_step": 0, "interval_max": 0}}, {}, 3),
        (
            {"task_publish_retry_policy": {"max_retries": 2, "interval_step": 0}},
            {"retry_policy": {"max_retries": 1}},
            2,
        ),
    ],
)
def test_a_publish_is_repeated_as_settings_and_options_say(recording_app, recording_broker, settings, options, tries):
    at_once = {"max_retries": 3, "interval_start": 0, "interval_step": 0, "interval_max": 0}
    recording_app.conf.update({"task_publish_retry_policy": at_once, **settings})
    recording_broker.errors = [OperationalError("away")] * 9
    with pytest.raises(OperationalError):
        recording_app.send_task("unit.other", **options)
    assert len(recording_broker.calls) == tries
    assert len({receipt for _, receipt in recording_broker.calls}) == 1


# ── queues ──


def test_the_router_is_made_again_only_when_settings_change(app):
    router = app.router
    assert app.router is router
    app.conf.task_routes = {"a.*": "mail"}
    assert app.router is not router


def test_a_worker_selects_among_the_declared_queues(make_app):
    app = make_app(task_queues=[Queue("mail"), Queue("letters")], task_create_missing_queues=False)
    assert app.select_queues("mail") == ("mail",)
    with pytest.raises(QueueNotFound, match="parcels"):
        app.select_queues(["parcels"])


# ── results ──


def test_a_result_takes_celerys_keywords(app, make_app):
    store, other = DisabledResults(), make_app("other")
    parent = app.AsyncResult("id-0")
    result = app.AsyncResult("id-1", backend=store, task_name="unit.job", app=other, parent=parent)
    assert (result.id, result.backend, result.app, result.parent) == ("id-1", store, other, parent)


def test_the_result_of_a_task_knows_its_name(app):
    job = app.task(name="unit.job")(print)
    assert job.AsyncResult("id-1").name == "unit.job"
