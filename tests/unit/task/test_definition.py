import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from celeriac import Task
from celeriac.exceptions import (
    BrokerError,
    CeleriacWarning,
    ConfigError,
    EncodeError,
    Ignore,
    MaxRetriesExceededError,
    Retry,
)
from celeriac.execution.calls import DirectCaller
from celeriac.execution.executor import Executor
from celeriac.messages import decode_body
from celeriac.request import Context, current_run
from celeriac.runs import Run


class Keeper:
    """Keeps what a run reports."""

    def __init__(self):
        self.reports = []

    def begin(self, lease):
        return True

    def report(self, commit):
        self.reports.append(commit)


@pytest.fixture
def keeper():
    return Keeper()


@pytest.fixture
def run(recording_app, make_lease, keeper):
    """Run a task's message as a worker does; gives the commit."""

    def run(task, *args, **rest):
        lease = make_lease(task=task.name, args=args, **rest)
        return Executor(recording_app, "celery@unit", keeper).execute(lease, DirectCaller())

    return run


@pytest.fixture
def add(recording_app):
    @recording_app.task
    def add(x, y=0):
        """Adds."""
        return x + y

    return add


def body_of(outgoing):
    body = decode_body(outgoing.message, frozenset({"application/json"}))
    return body.args, body.kwargs


# ── names and being a function ──


def test_a_task_is_named_after_its_module_and_function(app, add):
    assert add.name == f"{__name__}.add"
    assert app.tasks[add.name] is add


def test_a_name_that_is_given_is_kept(app):
    task = app.task(name="math.add")(lambda: None)
    assert app.tasks["math.add"] is task


def test_a_task_of_a_script_is_named_after_the_app(make_app):
    def job():
        pass

    job.__module__ = "__main__"
    assert make_app("tasks").task(job).name == "tasks.job"
    assert make_app(None).task(job).name == "__main__.job"


def test_a_task_looks_like_its_function(add):
    assert isinstance(add, Task)
    assert (add.__name__, add.__doc__, add.__module__) == ("add", "Adds.", __name__)
    assert add.__wrapped__(1, 2) == 3


def test_a_task_that_is_called_runs_here(add, recording_broker):
    assert add(2, y=3) == 5
    assert recording_broker.calls == []


def test_with_bind_the_first_parameter_is_the_task(recording_app):
    @recording_app.task(bind=True)
    def who(self, x):
        return self, x

    assert who(5) == (who, 5)


def test_a_coroutine_function_called_directly_gives_a_coroutine(recording_app):
    @recording_app.task
    async def add(x, y):
        return x + y

    assert asyncio.run(add(1, 2)) == 3


@pytest.mark.parametrize("thing", [5, "name", int, type("Job", (), {})])
def test_only_functions_are_tasks(app, thing):
    with pytest.raises(TypeError, match="for functions"):
        app.task()(thing)


def test_a_task_does_not_pickle_and_says_what_to_do(add):
    with pytest.raises(TypeError, match=r"app\.tasks\[name\]"):
        add.__reduce__()


# ── options of the decorator ──


def test_options_are_attributes_with_celerys_defaults(add):
    assert (add.max_retries, add.default_retry_delay, add.acks_late, add.queue) == (3, 180, None, None)


def test_a_near_miss_of_an_option_is_an_error(app):
    with pytest.raises(ConfigError, match=r"no option 'max_retrys'; did you mean 'max_retries'"):
        app.task(max_retrys=5)(print)


def test_another_option_is_kept_with_a_warning(app):
    with pytest.warns(CeleriacWarning, match="no option 'shoe_size'"):
        task = app.task(shoe_size=45)(print)
    assert task.shoe_size == 45


# ── calling ──


def test_delay_sends_its_arguments(add, sent):
    result = add.delay(2, y=3)
    assert body_of(sent()) == ([2], {"y": 3})
    assert (sent().message.task, sent().message.id, sent().queue) == (add.name, result.id, "celery")


async def test_adelay_sends_its_arguments(add, sent):
    result = await add.adelay(2, y=3)
    assert body_of(sent()) == ([2], {"y": 3})
    assert sent().message.id == result.id


async def test_calls_of_one_turn_of_the_loop_share_a_publish(add, recording_broker):
    await asyncio.gather(*(add.adelay(number) for number in range(100)))
    assert [len(outgoing) for outgoing, _ in recording_broker.calls] == [100]


@pytest.mark.parametrize(
    ("args", "kwargs", "why"),
    [
        ((), {}, "missing a required argument: 'x'"),
        ((1, 2, 3), {}, "too many positional arguments"),
        ((1,), {"z": 3}, "unexpected keyword argument 'z'"),
        ((1,), {"x": 1}, "multiple values for argument 'x'"),
    ],
)
def test_arguments_that_do_not_fit_fail_at_the_call_naming_task_and_signature(add, recording_broker, args, kwargs, why):
    with pytest.raises(TypeError) as caught:
        add.delay(*args, **kwargs)
    assert str(caught.value).startswith(f"{add.name}(x, y=0): ")
    assert why in str(caught.value)
    assert recording_broker.calls == []


async def test_adelay_checks_arguments_too(add):
    with pytest.raises(TypeError, match="missing a required argument"):
        await add.adelay()


def test_the_signature_of_a_bound_task_is_without_self(recording_app):
    @recording_app.task(bind=True)
    def job(self, x):
        pass

    job.delay(1)
    with pytest.raises(TypeError, match=r"job\(x\): too many"):
        job.delay(1, 2)


def test_without_typing_any_arguments_are_sent(recording_app, sent):
    recording_app.task(typing=False)(lambda: None).delay(1, 2)
    assert body_of(sent()) == ([1, 2], {})


def test_an_argument_that_cannot_be_sent_fails_at_the_call(add, recording_broker):
    with pytest.raises(EncodeError, match=f"{add.name}: argument 'y' cannot be sent"):
        add.delay(1, y={2})
    assert recording_broker.calls == []


def test_countdown_is_a_due_time_in_the_store(add, sent, clock):
    add.apply_async((1,), countdown=60)
    assert sent().due == clock.time() + 60
    assert sent().message.eta.timestamp() == clock.time() + 60


def test_eta_is_a_due_time_in_the_store(add, sent):
    add.apply_async((1,), eta=datetime(2026, 7, 1, tzinfo=UTC))
    assert sent().due == datetime(2026, 7, 1, tzinfo=UTC).timestamp()


def test_a_naive_eta_is_in_the_time_zone_of_the_settings(recording_app, add, sent):
    recording_app.conf.timezone = "Europe/Vienna"
    add.apply_async((1,), eta=datetime(2026, 7, 1, 12))
    assert sent().message.eta == datetime(2026, 7, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize("expires", [120, timedelta(minutes=2)])
def test_expires_is_sent(add, sent, clock, expires):
    add.apply_async((1,), expires=expires)
    assert sent().message.expires.timestamp() == clock.time() + 120
    assert sent().due is None


def test_a_task_may_expire_at_a_time(recording_app, sent):
    recording_app.task(expires="2026-07-01T12:00:00", name="unit.job")(lambda: None).delay()
    assert sent().message.expires == datetime(2026, 7, 1, 12, tzinfo=UTC)


def test_the_id_is_the_callers_if_one_is_given(add, sent):
    assert add.apply_async((1,), task_id="order-4711").id == "order-4711"
    assert sent().message.id == "order-4711"


@pytest.mark.parametrize(
    ("of_call", "of_task", "of_settings", "wins"),
    [(None, None, "c", "c"), (None, "b", "c", "b"), ("a", "b", "c", "a")],
)
def test_the_queue_of_the_call_wins_over_the_tasks_over_the_settings(
    recording_app, sent, of_call, of_task, of_settings, wins
):
    recording_app.conf.task_default_queue = of_settings
    recording_app.task(queue=of_task)(lambda: None).apply_async(queue=of_call)
    assert sent().queue == wins


@pytest.mark.parametrize(
    ("of_call", "of_task", "of_settings", "wins"),
    [(None, None, None, 0), (None, None, 3, 3), (None, 6, 3, 6), (0, 6, 3, 0)],
)
def test_the_priority_of_the_call_wins_over_the_tasks_over_the_settings(
    recording_app, sent, of_call, of_task, of_settings, wins
):
    recording_app.conf.task_default_priority = of_settings
    recording_app.task(priority=of_task)(lambda: None).apply_async(priority=of_call)
    assert sent().message.priority == wins


@pytest.mark.parametrize(
    ("of_call", "of_task", "of_settings", "wins"),
    [(None, None, False, False), (None, None, True, True), (None, False, True, False), (True, False, False, True)],
)
def test_ignore_result_of_the_call_wins_over_the_tasks_over_the_settings(
    recording_app, sent, of_call, of_task, of_settings, wins
):
    recording_app.conf.task_ignore_result = of_settings
    result = recording_app.task(ignore_result=of_task)(lambda: None).apply_async(ignore_result=of_call)
    assert sent().message.headers["ignore_result"] is wins
    assert result.ignored is wins


def test_a_task_may_always_expire(recording_app, sent, clock):
    recording_app.task(expires=30)(lambda: None).delay()
    assert sent().message.expires.timestamp() == clock.time() + 30


def test_a_bad_option_of_the_call_is_named_and_nothing_is_sent(add, recording_broker):
    with pytest.raises(ValueError, match="priority"):
        add.apply_async((1,), priority=11)
    assert recording_broker.calls == []


def test_delay_many_sends_all_at_once(add, recording_broker):
    results = add.delay_many([(1, 2), [3], {"x": 4, "y": 5}], countdown=60)
    ((sent, _),) = recording_broker.calls
    assert [body_of(outgoing) for outgoing in sent] == [([1, 2], {}), ([3], {}), ([], {"x": 4, "y": 5})]
    assert [outgoing.message.id for outgoing in sent] == [result.id for result in results]
    assert {outgoing.due for outgoing in sent} == {add.app.clock.time() + 60}


def test_delay_many_sends_a_thousand_at_a_time(add, recording_broker):
    add.delay_many((number,) for number in range(2500))
    assert [len(outgoing) for outgoing, _ in recording_broker.calls] == [1000, 1000, 500]


def test_each_of_many_calls_has_the_shadow_name_of_its_own_arguments(recording_app, recording_broker):
    class Named(Task):
        def shadow_name(self, args, kwargs, options):
            return f"job-{args[0]}"

    recording_app.task(lambda x: None, base=Named, name="unit.named").delay_many([(1,), (2,)])
    assert [one.message.headers["shadow"] for one in recording_broker.published] == ["job-1", "job-2"]


@pytest.mark.parametrize("calls", [[(1,), ()], [(1,), "ab"], [(1,), 5], [(1,), ({2},)]])
def test_delay_many_checks_all_before_it_sends_any(add, recording_broker, calls):
    with pytest.raises(TypeError, match=add.name):
        add.delay_many(calls)
    assert recording_broker.calls == []


def test_a_result_is_found_again_by_its_id(add):
    assert add.AsyncResult("id-1").id == "id-1"


# ── within a run ──


def test_the_request_tells_of_the_run(recording_app, run):
    seen = []

    @recording_app.task(bind=True)
    def job(self, x):
        seen.append(self.request)

    run(job, 5, queue="mail", retries=2, deliveries=2, root_id="root-1", parent_id="parent-1")
    (request,) = seen
    assert (request.id, request.args, request.retries, request.hostname) == ("id-1", [5], 2, "celery@unit")
    assert (request.root_id, request.parent_id, request.called_directly) == ("root-1", "parent-1", False)
    assert request.delivery_info == {"exchange": "", "routing_key": "mail", "priority": 0, "redelivered": True}


def test_the_request_of_a_direct_call_has_defaults(recording_app):
    @recording_app.task(bind=True)
    def job(self):
        return self.request

    assert job().called_directly
    assert job().id is None


def test_a_task_that_is_called_within_another_ones_run_sees_no_request_of_it(recording_app, run):
    seen = []

    @recording_app.task(bind=True)
    def inner(self):
        seen.append(self.request.id)

    @recording_app.task
    def outer():
        inner()

    run(outer)
    assert seen == [None]


def test_a_call_within_a_run_has_its_parent_and_is_its_child(recording_app, add, run, sent):
    @recording_app.task
    def outer():
        add.delay(1)

    run(outer)
    assert sent().message.headers["parent_id"] == "id-1"
    assert sent().message.headers["root_id"] == "id-1"


def test_update_state_outside_of_a_run_needs_an_id(add):
    with pytest.raises(ValueError, match="task_id"):
        add.update_state(state="PROGRESS")


def test_update_state_with_an_id_stores_at_once(app):
    task = app.task(lambda: None)
    task.update_state("id-9", "PROGRESS", {"done": 3})
    result = app.AsyncResult("id-9")
    assert (result.state, result.info) == ("PROGRESS", {"done": 3})


def test_update_state_refuses_what_cannot_be_written(app):
    with pytest.raises(EncodeError):
        app.task(lambda: None).update_state("id-9", "PROGRESS", object())


# ── retry ──


@pytest.mark.parametrize(
    ("given", "raised"), [({"exc": ValueError("why")}, ValueError), ({}, Retry)], ids=["exc", "none"]
)
def test_retry_of_a_direct_call_raises_the_reason(add, given, raised):
    with pytest.raises(raised):
        add.retry(**given)


def test_retry_of_a_direct_call_raises_what_is_being_handled(add):
    try:
        raise LookupError
    except LookupError:
        with pytest.raises(LookupError):
            add.retry()


class Noting:
    """Notes what a run asks to be repeated."""

    def __init__(self):
        self.again = []

    def repeat(self, again):
        self.again.append(again)


@pytest.fixture
def retry(add):
    """Call retry within a run of `add`; gives what is to run again and what was raised."""

    def retry(*, retries=0, task=add, **options):
        noting = Noting()
        context = Context(id="id-1", args=[1], kwargs={}, retries=retries, called_directly=False)
        token = current_run.set(Run(task, context, noting))
        try:
            task.retry(**options)
        except BaseException as error:
            return noting.again, error
        finally:
            current_run.reset(token)

    return retry


def test_a_retry_is_the_same_call_again_later(retry):
    (again,), error = retry(exc=ValueError("why"), countdown=30)
    assert isinstance(error, Retry)
    assert (again.retries, again.args, again.kwargs, again.options["countdown"]) == (1, None, None, 30)
    assert (repr(error.exc), error.when, str(error)) == ("ValueError('why')", 30, "Retry in 30s: ValueError('why')")


def test_a_retry_waits_for_the_tasks_default_delay(retry):
    (again,), error = retry()
    assert again.options["countdown"] == 180
    assert error.when == 180


def test_a_retry_may_name_a_time(retry):
    moment = datetime(2026, 7, 1, tzinfo=UTC)
    (again,), error = retry(eta=moment)
    assert (again.options["eta"], again.options["countdown"]) == (moment, None)
    assert error.when == moment


def test_a_retry_at_two_times_is_refused(retry):
    again, error = retry(eta=datetime(2026, 7, 1, tzinfo=UTC), countdown=5)
    assert again == []
    assert "countdown or eta, not both" in str(error)


@pytest.mark.parametrize(
    ("given", "args", "kwargs"),
    [({"args": [5]}, [5], {}), ({"kwargs": {"y": 5}}, [1], {"y": 5}), ({"args": (), "kwargs": {"x": 1}}, [], {"x": 1})],
)
def test_a_retry_may_change_the_arguments(retry, given, args, kwargs):
    (again,), _ = retry(**given)
    assert (again.args, again.kwargs) == (args, kwargs)


def test_a_retry_may_change_queue_priority_and_expiry(retry):
    (again,), _ = retry(queue="slow", priority=9, expires=60)
    assert {"queue": "slow", "priority": 9, "expires": 60}.items() <= again.options.items()


def test_a_near_miss_of_an_option_of_a_retry_is_refused(retry):
    again, error = retry(prioritty=9)
    assert again == []
    assert "did you mean 'priority'" in str(error)


def test_the_last_retry_raises_the_reason(retry):
    again, error = retry(retries=3, exc=ValueError("why"))
    assert again == []
    assert repr(error) == "ValueError('why')"


def test_the_last_retry_without_a_reason_says_so(retry):
    _, error = retry(retries=3, args=(5,))
    assert isinstance(error, MaxRetriesExceededError)
    assert "id-1" in str(error)
    assert (error.task_args, error.task_kwargs) == ([5], {})


def test_max_retries_of_the_call_wins(retry):
    assert isinstance(retry(retries=3, max_retries=4)[1], Retry)
    assert isinstance(retry(retries=0, max_retries=0)[1], MaxRetriesExceededError)


def test_without_a_limit_a_task_is_retried_for_ever(add, retry):
    add.max_retries = None
    assert isinstance(retry(retries=1000)[1], Retry)


def test_retry_returns_instead_of_raising_without_throw(add):
    noting = Noting()
    token = current_run.set(Run(add, Context(id="id-1", args=[1], called_directly=False), noting))
    try:
        assert isinstance(add.retry(throw=False), Retry)
    finally:
        current_run.reset(token)
    assert len(noting.again) == 1


async def test_coroutines_that_are_all_refused_all_learn_it(add, recording_broker):
    recording_broker.errors = [BrokerError("read-only")] * 9
    ended = await asyncio.gather(*(add.adelay(number) for number in range(3)), return_exceptions=True)
    assert [type(error) for error in ended] == [BrokerError] * 3


def test_producer_and_connection_are_taken_and_not_used(add, sent):
    add.apply_async((1,), producer=object(), connection=object())
    assert body_of(sent()) == ([1], {})


def test_arguments_may_be_any_iterable(add, sent):
    add.apply_async(iter([1]), {"y": 2}.items())
    assert body_of(sent()) == ([1], {"y": 2})


# ── names for logs ──


def test_a_class_may_name_its_calls_for_logs(recording_app, sent):
    class Named(Task):
        def shadow_name(self, args, kwargs, options):
            return f"{self.name}-of-{args[0]}"

    recording_app.task(lambda x: x, base=Named, name="unit.job").delay(4711)
    assert sent().message.headers["shadow"] == "unit.job-of-4711"


def test_a_shadow_that_is_given_wins(recording_app, sent):
    class Named(Task):
        def shadow_name(self, args, kwargs, options):
            return "other"

    recording_app.task(lambda: None, base=Named, name="unit.job").apply_async(shadow="mine")
    assert sent().message.headers["shadow"] == "mine"


# ── class tasks ──


def test_a_call_of_a_class_task_is_checked_against_its_run(recording_app, recording_broker):
    class Mail(Task):
        def run(self, to):
            """Nothing."""

    mail = recording_app.register_task(Mail())
    mail.delay("Ada")
    with pytest.raises(TypeError, match=r"Mail\(to\): too many"):
        mail.delay("Ada", "Bob")
    assert len(recording_broker.published) == 1


def test_an_app_without_strict_typing_checks_no_arguments(make_app, recording_broker):
    app = make_app(strict_typing=False)
    app.stores._broker = recording_broker
    app.task(lambda: None, name="unit.job").delay(1, 2)
    assert len(recording_broker.published) == 1


# ── replace ──


class Following(Noting):
    """Notes what a run has follow."""

    def follow(self, signature, args):
        self.again.append((signature, args))


@pytest.fixture
def replaced(add):
    """Replace a run of `add` by a signature; gives what follows and what was raised."""

    def replaced(sig, **facts):
        following = Following()
        context = Context(id="id-1", root_id="root-1", called_directly=False, **facts)
        token = current_run.set(Run(add, context, following))
        try:
            add.replace(sig)
        except BaseException as error:
            return following.again, error
        finally:
            current_run.reset(token)

    return replaced


def test_a_replacement_takes_the_id_and_place_of_the_task(recording_app, replaced):
    ((sig, args),), error = replaced(
        recording_app.signature("unit.other", (1,)), group="g", parent_id="p", replaced_task_nesting=1
    )
    assert isinstance(error, Ignore)
    assert (sig.task, sig.args, args) == ("unit.other", (1,), ())
    assert sig.options == {
        "task_id": "id-1",
        "root_id": "root-1",
        "parent_id": "p",
        "group_id": "g",
        "replaced_task_nesting": 2,
    }


def test_callbacks_go_along_with_a_replacement(recording_app, add, replaced):
    callback, errback = add.s(2), add.si(3)
    ((sig, _),), _ = replaced(recording_app.signature("unit.other"), callbacks=[callback], errbacks=[errback])
    assert (sig.options["link"], sig.options["link_error"]) == ([callback], [errback])


def test_replace_outside_of_a_run_says_so(add):
    with pytest.raises(RuntimeError, match="call the other task instead"):
        add.replace(add.s(1))


def test_a_class_may_say_what_a_replacement_means(recording_app):
    seen = []

    class Mine(Task):
        def on_replace(self, sig):
            seen.append(sig.task)

    job = recording_app.task(lambda: None, base=Mine, name="unit.job")
    token = current_run.set(Run(job, Context(id="id-1", called_directly=False), Following()))
    with pytest.raises(Ignore):
        job.replace(job.s())
    current_run.reset(token)
    assert seen == ["unit.job"]


# ── the run as a signature ──


def test_the_present_run_as_a_signature_calls_the_same_again(add):
    context = Context(
        id="id-1",
        root_id="root-1",
        args=[1],
        kwargs={"y": 2},
        retries=2,
        time_limit=30,
        delivery_info={"routing_key": "mail", "priority": 4},
    )
    sig = add.signature_from_request(context, countdown=5)
    assert (sig.task, sig.args, sig.kwargs) == (add.name, (1,), {"y": 2})
    assert sig.options == {
        "task_id": "id-1",
        "root_id": "root-1",
        "retries": 2,
        "time_limit": 30,
        "queue": "mail",
        "priority": 4,
        "countdown": 5,
    }


# ── an app from elsewhere ──


def test_a_task_that_belongs_to_no_app_is_of_the_current_one(make_app):
    app = make_app()
    assert Task().app is app
