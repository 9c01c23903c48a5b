import math
import os
from datetime import UTC, date, datetime, timedelta

import pytest

from celeriac import signals
from celeriac.calling import calls_of, make_outgoing
from celeriac.exceptions import EncodeError, QueueNotFound
from celeriac.messages import EMBED, decode_body
from celeriac.queues import Queue
from celeriac.request import Context, current_run
from celeriac.runs import Run
from support.celery_oracle import ask_celery

JSON = frozenset({"application/json"})


@pytest.fixture
def call(recording_app, sent):
    """Send one task by its name; gives the outgoing message."""

    def call(args=(), kwargs=None, /, **options):
        recording_app.send_task("a.b", args, kwargs, **options)
        return sent()

    return call


@pytest.fixture
def within_a_run(recording_app):
    """A run of another task, in which the test's calls are made."""
    parent = recording_app.task(lambda: None, name="unit.parent")
    context = Context(id="parent-1", root_id="root-1", delivery_info={"priority": 7}, called_directly=False)
    token = current_run.set(Run(parent, context, object()))
    yield context
    current_run.reset(token)


@pytest.fixture
def receive():
    """Connect a function to a signal, for this test."""
    connected = []

    def receive(signal, receiver):
        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))

    yield receive
    for signal, receiver in connected:
        signal.disconnect(receiver)


# ── the message that a call becomes, against Celery ──

#: What Celery writes at 2026-01-02T03:04:05 for a task that is called with these options.
CELERYS_MESSAGES = """
import base64, datetime
from celery import Celery
app = Celery("oracle", broker="memory://", backend="cache+memory://")
app.now = lambda: datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
answer = []

def messages(call):
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        for queue in list(channel.queues):
            channel._purge(queue)
        call()
        [(queue, raw)] = [(queue, channel._get(queue)) for queue in list(channel.queues) if channel._size(queue)]
    body = base64.b64decode(raw["body"])
    plain = raw["content-type"] == "application/json" and "compression" not in raw["headers"]
    answer.append({
        "queue": queue, "headers": raw["headers"], "properties": raw["properties"],
        "content": [raw["content-type"], raw["content-encoding"]], "body": json.loads(body) if plain else None,
    })

for of_task, options in given:
    @app.task(name="unit.job", **of_task)
    def job(x, y=0): pass
    messages(lambda: job.apply_async((1,), {"y": 2}, **options))
    del app.tasks["unit.job"]
"""

CALLS = {
    "plain": ({}, {}),
    "task_id": ({}, {"task_id": "order-4711"}),
    "countdown": ({}, {"countdown": 60}),
    "eta": ({}, {"eta": "2026-07-01T12:00:00+00:00"}),
    "expires": ({}, {"expires": 120}),
    "expires as a time": ({}, {"expires": "2026-07-01T12:00:00+00:00"}),
    "the task's expires": ({"expires": 30}, {}),
    "the task's expires taken away": ({"expires": 30}, {"expires": None}),
    "the task's limits taken away": (
        {"time_limit": 30, "soft_time_limit": 20},
        {"time_limit": None, "soft_time_limit": None},
    ),
    "priority": ({}, {"priority": 3}),
    "the task's priority": ({"priority": 6}, {}),
    "queue": ({}, {"queue": "mail"}),
    "the task's queue": ({"queue": "mail"}, {}),
    "exchange and key": ({}, {"exchange": "mail", "routing_key": "mail", "queue": "mail"}),
    "serializer": ({}, {"serializer": "pickle"}),
    "compression": ({}, {"compression": "zlib"}),
    "limits": ({}, {"time_limit": 10, "soft_time_limit": 5}),
    "the task's limits": ({"time_limit": 10, "soft_time_limit": 5}, {}),
    "one limit": ({}, {"soft_time_limit": 5}),
    "ignore_result": ({}, {"ignore_result": True}),
    "the task's ignore_result": ({"ignore_result": True}, {}),
    "shadow": ({}, {"shadow": "job-of-4711"}),
    "headers": ({}, {"headers": {"tenant": 7}}),
    "reply_to": ({}, {"reply_to": "me"}),
    "ids": ({}, {"root_id": "root-1", "parent_id": "parent-1"}),
    "group": ({}, {"group_id": "group-1", "group_index": 3}),
    "retries": ({}, {"retries": 2}),
    "stamps": ({}, {"stamped_headers": ["tenant"], "tenant": [7]}),
    "reprs": ({}, {"argsrepr": "(***)", "kwargsrepr": "{***}"}),
    "link": ({}, {"link": {"task": "unit.next", "args": [], "kwargs": {}, "options": {}, "subtask_type": None}}),
    "links": ({}, {"link": [{"task": "unit.one"}, {"task": "unit.two"}]}),
    "link_error": ({}, {"link_error": {"task": "unit.failed"}}),
    "chain": ({}, {"chain": [{"task": "unit.last"}]}),
    "chord": ({}, {"chord": {"task": "unit.body"}}),
    "a property": ({}, {"shoe": 45}),
    "no retry": ({}, {"retry": False}),
    "a policy": ({}, {"retry": True, "retry_policy": {"max_retries": 1}}),
    "not a child": ({}, {"add_to_parent": False}),
}


@pytest.fixture(scope="module")
def celerys_messages():
    return dict(zip(CALLS, ask_celery(CELERYS_MESSAGES, list(CALLS.values())), strict=True))


#: Headers that say how a caller sees its arguments, and who it is: ours are left out, or another's.
OF_THE_CALLER = {"argsrepr", "kwargsrepr", "origin"}
#: Properties that are other ones in each process, or stand elsewhere with us.
OF_THE_PROCESS = {
    "delivery_tag",
    "delivery_info",
    "body_encoding",
    "correlation_id",
    "delivery_mode",
    "expiration",
    "argsrepr",
    "kwargsrepr",
}


def told(headers):
    """Headers without those that say nothing."""
    plain = {name: value for name, value in headers.items() if value not in (None, [], {}, [None, None], False)}
    return {name: value for name, value in plain.items() if name != "replaced_task_nesting" or value != 0}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_becomes_the_message_that_celery_writes(recording_app, sent, celerys_messages, name):
    of_task, options = CALLS[name]
    theirs = celerys_messages[name]
    job = recording_app.task(lambda x, y=0: None, name="unit.job", **of_task)
    job.apply_async((1,), {"y": 2}, **options)
    message = sent().message
    headers, expected = told(message.headers), told(theirs["headers"])
    fresh = set() if "task_id" in options else {"id", "root_id"} - set(options)
    absent = fresh | (OF_THE_CALLER if name != "reprs" else {"origin"})
    assert {n: v for n, v in headers.items() if n not in absent} == {
        n: v for n, v in expected.items() if n not in absent
    }
    assert sent().queue == theirs["queue"]
    assert message.priority == (theirs["properties"].pop("priority", None) or 0)
    given_properties = {"reply_to", "shoe"}
    kept = {n: v for n, v in theirs["properties"].items() if n in given_properties and n in options}
    assert dict(message.properties) == kept
    assert theirs["properties"].keys() - given_properties <= OF_THE_PROCESS
    assert [message.content_type, message.content_encoding] == theirs["content"]
    if theirs["body"] is not None:
        body = decode_body(message, JSON)
        assert [body.args, body.kwargs, {**dict.fromkeys(EMBED), **body.embed}] == theirs["body"]


# ── what celeriac adds and refuses ──


def test_a_message_has_no_headers_that_say_nothing(call):
    headers = dict(call([1], {"k": 2}, task_id="id-1").message.headers)
    assert headers.pop("origin").startswith(f"gen{os.getpid()}@")
    assert headers == {"lang": "py", "task": "a.b", "id": "id-1", "root_id": "id-1"}


def test_every_call_has_an_id_of_its_own(recording_app):
    assert recording_app.send_task("a.b").id != recording_app.send_task("a.b").id


@pytest.mark.parametrize("countdown", [60, 60.0, timedelta(minutes=1)])
def test_countdown_counts_from_the_applications_clock(call, clock, countdown):
    outgoing = call(countdown=countdown)
    assert (outgoing.due, outgoing.message.eta.timestamp()) == (clock.time() + 60, clock.time() + 60)


def test_a_message_for_now_is_not_delayed(call):
    assert call(expires=60).due is None


@pytest.mark.parametrize("option", ["eta", "expires"])
@pytest.mark.parametrize("when", [datetime(2026, 7, 1, 12), "2026-07-01T12:00", datetime(2026, 7, 1, 10, tzinfo=UTC)])
def test_a_naive_time_is_in_the_applications_zone(recording_app, call, option, when):
    recording_app.conf.timezone = "Europe/Vienna"
    assert getattr(call(**{option: when}).message, option) == datetime(2026, 7, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize("expires", [120, timedelta(minutes=2)])
def test_expires_counts_from_the_applications_clock(call, clock, expires):
    assert call(expires=expires).message.expires.timestamp() == clock.time() + 120


def test_a_time_limit_may_be_a_timedelta(call):
    assert call(time_limit=timedelta(minutes=1)).message.headers["timelimit"] == [60, None]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("priority", value) for value in (-1, 10, 2.0, "5", True)),
        *(("queue", value) for value in ("", "\ud800")),
        *(("task_id", value) for value in ("", 5, b"id", "\ud800")),
        *(("countdown", value) for value in ("5", True, [5], math.nan, math.inf, 1e20, timedelta.max)),
        *(("eta", value) for value in ("soon", 5, date(2026, 1, 1))),
        *(("expires", value) for value in ("5", True, date(2026, 1, 1), math.nan, 1e20, -1e20)),
        *(("time_limit", value) for value in (0, -1, "5", True)),
        *(("soft_time_limit", value) for value in (0, "5")),
        *(("link", value) for value in ("unit.next", 5, [5], {"args": []})),
        *(("link_error", value) for value in (print, {})),
        ("headers", [("tenant", 7)]),
    ],
)
def test_a_bad_option_is_named_and_nothing_is_sent(call, recording_broker, name, value):
    with pytest.raises((TypeError, ValueError), match=name):
        call(**{name: value})
    assert recording_broker.calls == []


def test_countdown_and_eta_together_are_refused(call):
    with pytest.raises(ValueError, match="countdown or eta, not both"):
        call(countdown=5, eta=datetime(2026, 1, 1))


def test_a_soft_limit_above_the_hard_one_is_refused(call):
    with pytest.raises(ValueError, match=r"soft_time_limit \(20 s\) must not be above time_limit \(10 s\)"):
        call(time_limit=10, soft_time_limit=20)


@pytest.mark.parametrize(
    ("slip", "meant"),
    [("contdown", "countdown"), ("expire", "expires"), ("queue_", "queue"), ("prority", "priority"), ("etas", "eta")],
)
def test_a_near_miss_of_an_option_is_a_type_error(call, recording_broker, slip, meant):
    with pytest.raises(TypeError, match=f"a.b: a call has no option {slip!r}; did you mean {meant!r}"):
        call(**{slip: 5})
    assert recording_broker.calls == []


def test_a_stamp_may_have_a_name_that_is_nearly_an_options(call):
    headers = call(stamped_headers=["queues"], queues="a").message.headers
    assert headers["stamps"] == {"queues": ["a"]}


@pytest.mark.parametrize(
    ("args", "kwargs", "named"),
    [([1, {2}], {}, "argument 2"), ([], {"user": object()}, "argument 'user'"), ([object()], {"k": {1}}, "argument 1")],
)
def test_an_argument_that_cannot_be_sent_is_named(call, args, kwargs, named):
    with pytest.raises(EncodeError, match=f"^a.b: {named} cannot be sent: .*id by which the task finds the rest"):
        call(args, kwargs)


def test_an_argument_that_cannot_be_sent_is_a_type_error_too(call):
    with pytest.raises(TypeError):
        call([object()])


def test_an_argument_may_hold_half_a_character(call):
    assert decode_body(call(["\ud800"]).message, JSON).args == ["\ud800"]


# ── within a run ──


def test_a_call_within_a_run_names_its_parent_and_root(call, within_a_run):
    headers = call(task_id="id-1").message.headers
    assert (headers["parent_id"], headers["root_id"]) == ("parent-1", "root-1")


def test_ids_that_are_given_win_over_the_runs(call, within_a_run):
    headers = call(parent_id="p", root_id="r").message.headers
    assert (headers["parent_id"], headers["root_id"]) == ("p", "r")


def test_a_call_within_a_run_is_its_child(recording_app, within_a_run):
    result = recording_app.send_task("a.b")
    assert within_a_run.children == [result]


def test_a_call_is_no_child_without_add_to_parent(call, within_a_run):
    call(add_to_parent=False)
    assert within_a_run.children == []


def test_a_task_without_trail_remembers_no_children(recording_app, within_a_run):
    recording_app.tasks["unit.parent"].trail = False
    recording_app.send_task("a.b")
    assert within_a_run.children == []


@pytest.mark.parametrize(("inherit", "given", "priority"), [(False, None, 0), (True, None, 7), (True, 2, 2)])
def test_a_child_has_its_parents_priority_if_the_setting_says_so(
    recording_app, call, within_a_run, inherit, given, priority
):
    recording_app.conf.task_inherit_parent_priority = inherit
    assert call(priority=given).message.priority == priority


# ── queues and routes ──


def test_a_queue_object_names_its_queue(call):
    assert call(queue=Queue("mail", exchange="post", routing_key="letters")).queue == "mail"


def test_a_route_gives_queue_and_priority(recording_app, call):
    recording_app.conf.task_routes = {"a.*": {"queue": "letters", "priority": 4}}
    outgoing = call()
    assert (outgoing.queue, outgoing.message.priority) == ("letters", 4)


def test_the_calls_own_options_win_over_the_routes(recording_app, call):
    recording_app.conf.task_routes = {"a.*": {"queue": "letters", "priority": 4}}
    outgoing = call(queue="mail", priority=1)
    assert (outgoing.queue, outgoing.message.priority) == ("mail", 1)


def test_a_route_that_is_set_later_holds(recording_app):
    recording_app.send_task("a.b")
    recording_app.conf.task_routes = {"a.b": "letters"}
    recording_app.send_task("a.b")
    assert [outgoing.queue for outgoing in recording_app.broker.published] == ["celery", "letters"]


def test_exchange_and_routing_key_lead_to_the_queue_that_is_bound(recording_app, call):
    recording_app.conf.task_queues = [
        Queue("feeds", exchange="media", routing_key="media.feed", exchange_type="topic"),
        Queue("images", exchange="media", routing_key="media.image", exchange_type="topic"),
    ]
    assert call(exchange="media", routing_key="media.image").queue == "images"


def test_without_create_missing_another_queue_is_refused(recording_app, call):
    recording_app.conf.task_create_missing_queues = False
    with pytest.raises(QueueNotFound, match="mail"):
        call(queue="mail")


def test_without_create_missing_the_declared_queues_serve(recording_app, call):
    recording_app.conf.task_queues = [Queue("mail", exchange="mail", routing_key="mail")]
    recording_app.conf.task_create_missing_queues = False
    assert call(queue="mail").queue == "mail"


# ── signals ──


def test_receivers_may_change_the_headers_before_a_publish(call, receive):
    receive(signals.before_task_publish, lambda headers, **_: headers.update(trace="t-1"))
    assert call().message.headers["trace"] == "t-1"


def test_before_a_publish_all_is_told(recording_app, receive):
    told = []
    receive(signals.before_task_publish, lambda **facts: told.append(facts))
    recording_app.send_task("a.b", (1,), {"y": 2}, queue="mail", reply_to="me", retry_policy={"max_retries": 9})
    (facts,) = told
    args, kwargs, embed = facts["body"]
    assert (list(args), kwargs) == ([1], {"y": 2})
    assert set(embed) == {"callbacks", "errbacks", "chain", "chord"}
    assert (facts["sender"], facts["exchange"], facts["routing_key"]) == ("a.b", "", "mail")
    assert facts["properties"]["reply_to"] == "me"
    assert facts["retry_policy"]["max_retries"] == 9
    assert "interval_step" in facts["retry_policy"]


def test_after_a_publish_what_was_sent_is_told(recording_app, receive):
    told = []
    receive(signals.after_task_publish, lambda **facts: told.append(facts))
    result = recording_app.send_task("a.b", (1,), {"y": 2})
    (facts,) = told
    assert (facts["sender"], facts["exchange"], facts["routing_key"]) == ("a.b", "", "celery")
    assert facts["headers"]["id"] == result.id
    assert facts["body"][:2] == ([1], {"y": 2})


def test_a_publish_that_failed_is_not_told(recording_app, recording_broker, receive):
    told = []
    receive(signals.after_task_publish, lambda **facts: told.append(facts))
    recording_broker.errors = [QueueNotFound("mail")]
    with pytest.raises(QueueNotFound):
        recording_app.send_task("a.b")
    assert told == []


def test_the_older_signal_is_still_sent(recording_app, receive):
    told = []
    receive(signals.task_sent, lambda **facts: told.append(facts))
    result = recording_app.send_task("a.b", (1,), group_id="g")
    (facts,) = told
    assert (facts["task_id"], facts["task"], facts["args"], facts["taskset"]) == (result.id, "a.b", [1], "g")


# ── calls of delay_many ──


def test_a_call_is_a_sequence_or_a_dictionary():
    assert list(calls_of("a.b", [(1, 2), [3], {"x": 4}])) == [((1, 2), {}), ([3], {}), ((), {"x": 4})]


@pytest.mark.parametrize("call", ["ab", 5, {1}])
def test_another_call_is_refused_naming_the_task(call):
    with pytest.raises(TypeError, match=r"a\.b: a call is a sequence"):
        list(calls_of("a.b", [call]))


def test_a_message_without_a_task_object_has_the_settings_serializer(recording_app):
    recording_app.conf.task_serializer = "pickle"
    outgoing = make_outgoing(recording_app, "a.b", [1], {}, {}, None)
    assert outgoing.message.content_type == "application/x-python-serialize"
