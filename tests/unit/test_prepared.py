"""What calls have in common is found once, and found anew when it changes."""

import pytest


@pytest.fixture
def job(recording_app):
    return recording_app.task(lambda x=0: None, name="unit.job")


@pytest.fixture
def last(recording_broker):
    return lambda: recording_broker.published[-1]


def test_the_queue_of_calls_that_are_alike_is_looked_up_once(job, recording_app, monkeypatch):
    asked = []
    route = recording_app.route
    monkeypatch.setattr(recording_app, "route", lambda *given: asked.append(given) or route(*given))
    for _ in range(3):
        job.delay()
        job.apply_async(queue="mail", countdown=5)
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("change", "queue"),
    [
        (lambda app, job: setattr(app.conf, "task_default_queue", "other"), "other"),
        (lambda app, job: app.conf.update(task_routes={"unit.*": "routed"}), "routed"),
        (lambda app, job: setattr(job, "queue", "own"), "own"),
        (lambda app, job: setattr(type(job), "queue", "class"), "class"),
        (lambda app, job: app.conf.update(task_queues=["listed"], task_default_queue="listed"), "listed"),
    ],
)
def test_a_change_of_the_settings_or_the_task_holds_from_the_next_call_on(recording_app, job, last, change, queue):
    job.delay()
    assert last().queue == "celery"
    change(recording_app, job)
    job.delay()
    assert last().queue == queue


def test_a_route_that_is_replaced_holds_from_the_next_call_on(recording_app, job, last):
    for queue in ("one", "two"):
        recording_app.conf.task_routes = {"unit.job": queue}
        job.delay()
        assert last().queue == queue


def test_a_router_that_is_a_function_sees_every_call(recording_app, job, last):
    recording_app.conf.task_routes = lambda name, args, kwargs, options, task=None: {"queue": f"q{args[0] % 2}"}
    queues = []
    for number in range(4):
        job.delay(number)
        queues.append(last().queue)
    assert queues == ["q0", "q1", "q0", "q1"]


def test_options_of_one_call_are_not_those_of_the_next(job, last):
    job.apply_async(priority=3, time_limit=5, headers={"tenant": 7}, task_id="id-1", retries=2, ignore_result=True)
    job.apply_async(priority=3)
    message = last().message
    assert (message.priority, message.retries) == (3, 0)
    assert message.headers.keys().isdisjoint({"timelimit", "tenant", "retries"})
    assert message.headers["ignore_result"] is False
    job.delay()
    assert last().message.priority == 0


def test_true_is_no_priority_though_one_is(job):
    job.apply_async(priority=1)
    with pytest.raises(ValueError, match="priority"):
        job.apply_async(priority=True)


def test_the_route_of_a_name_says_what_a_call_does_not(recording_app, job, last):
    recording_app.conf.task_routes = {"unit.job": {"queue": "slow", "priority": 6, "expires": 60}}
    for _ in range(2):
        job.delay()
        assert (last().queue, last().message.priority) == ("slow", 6)
        assert last().message.expires is not None
    job.apply_async(priority=2, expires=None)
    assert (last().queue, last().message.priority, last().message.expires) == ("slow", 2, None)


def test_a_queue_object_may_be_given(job, last):
    from celeriac.queues import Queue

    for name in ("one", "two"):
        job.apply_async(queue=Queue(name, exchange=name, routing_key=name))
        assert last().queue == name


def test_a_task_is_told_from_a_later_one_of_its_name(recording_app, job, last):
    job.delay()
    del recording_app.tasks["unit.job"]
    recording_app.task(lambda: None, name="unit.job", queue="own").delay()
    assert last().queue == "own"


def test_what_is_kept_is_bounded(recording_app, job):
    for number in range(2500):
        job.apply_async(queue=f"queue-{number}")
    assert len(recording_app.prepared_calls._kept) <= 1000
