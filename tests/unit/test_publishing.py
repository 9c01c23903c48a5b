import asyncio
import math
import os
import threading
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from celeriac.exceptions import BrokerError, ConfigError, EncodeError, OperationalError
from celeriac.messages import decode_body
from celeriac.publishing import CallOptions, Publisher, make_outgoing
from celeriac.request import Context, Run
from celeriac.retries import RetryPolicy

VIENNA = ZoneInfo("Europe/Vienna")
AT_ONCE = RetryPolicy(max_retries=None, interval_step_s=0)


@pytest.fixture
def options(clock):
    return lambda **given: CallOptions.of(**{"clock": clock, "zone": UTC, "queue": "celery", **given})


@pytest.fixture
def outgoing(options):
    return lambda number=0: make_outgoing("a.b", [number], {}, options(), None)


@pytest.fixture
def publisher(recording_broker):
    return Publisher(lambda: recording_broker, lambda: 30.0, lambda: AT_ONCE)


# ── options ──


def test_a_call_without_options_is_for_now(options):
    made = options()
    assert (made.queue, made.priority, made.eta, made.expires, made.ignore_result) == ("celery", 0, None, None, False)


def test_every_call_has_an_id_of_its_own(options):
    assert options().task_id != options().task_id


def test_an_id_that_is_given_is_kept(options):
    assert options(task_id="order-4711").task_id == "order-4711"


@pytest.mark.parametrize("countdown", [60, 60.0, timedelta(minutes=1)])
def test_countdown_counts_from_the_applications_clock(options, clock, countdown):
    assert options(countdown=countdown).eta.timestamp() == clock.time() + 60


def test_a_naive_eta_is_in_the_applications_zone(options):
    assert options(zone=VIENNA, eta=datetime(2026, 7, 1, 12)).eta == datetime(2026, 7, 1, 10, tzinfo=UTC)


def test_an_aware_eta_keeps_its_moment(options):
    moment = datetime(2026, 7, 1, 12, tzinfo=VIENNA)
    assert options(eta=moment).eta == moment


@pytest.mark.parametrize("expires", [120, timedelta(minutes=2)])
def test_expires_counts_from_the_applications_clock(options, clock, expires):
    assert options(expires=expires).expires.timestamp() == clock.time() + 120


def test_a_naive_expires_is_in_the_applications_zone(options):
    assert options(zone=VIENNA, expires=datetime(2026, 7, 1, 12)).expires == datetime(2026, 7, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("priority", value) for value in (-1, 10, 2.0, "5", True)),
        *(("queue", value) for value in ("", None, 5, "\ud800")),
        *(("task_id", value) for value in ("", 5, b"id", "\ud800")),
        *(("countdown", value) for value in ("5", True, [5], math.nan, math.inf, 1e20, timedelta.max)),
        *(("eta", value) for value in ("2026-01-01", 5, date(2026, 1, 1))),
        *(("expires", value) for value in ("5", True, date(2026, 1, 1), math.nan, 1e20, -1e20)),
    ],
)
def test_a_bad_option_is_named(options, name, value):
    with pytest.raises((TypeError, ValueError), match=name):
        options(**{name: value})


def test_countdown_and_eta_together_are_refused(options):
    with pytest.raises(ValueError, match="countdown or eta, not both"):
        options(countdown=5, eta=datetime(2026, 1, 1))


# ── messages ──


def test_a_message_says_what_celery_expects(options, clock):
    made = make_outgoing("a.b", [1], {"k": 2}, options(task_id="id-1", countdown=60, expires=120, priority=3), None)
    headers = dict(made.message.headers)
    assert headers.pop("origin").startswith(f"gen{os.getpid()}@")
    assert headers == {
        "lang": "py",
        "task": "a.b",
        "id": "id-1",
        "root_id": "id-1",
        "retries": 0,
        "ignore_result": False,
        "eta": "2026-01-02T03:05:05+00:00",
        "expires": "2026-01-02T03:06:05+00:00",
    }
    assert (made.queue, made.due, made.message.priority) == ("celery", clock.time() + 60, 3)
    body = decode_body(made.message, frozenset({"application/json"}))
    assert (body.args, body.kwargs) == ([1], {"k": 2})


def test_a_message_for_now_is_not_delayed(options):
    assert make_outgoing("a.b", [], {}, options(), None).due is None


def test_a_call_within_a_run_names_its_parent_and_root(options):
    parent = Run("p", Context(id="parent-1", root_id="root-1"), None, "celery", None)
    headers = make_outgoing("a.b", [], {}, options(task_id="id-1"), parent).message.headers
    assert (headers["parent_id"], headers["root_id"]) == ("parent-1", "root-1")


@pytest.mark.parametrize(
    ("args", "kwargs", "named"),
    [([1, {2}], {}, "argument 2"), ([], {"user": object()}, "argument 'user'"), ([object()], {"k": {1}}, "argument 1")],
)
def test_an_argument_that_cannot_be_sent_is_named(options, args, kwargs, named):
    with pytest.raises(EncodeError, match=f"^a.b: {named} cannot be sent: .*id by which the task finds the rest"):
        make_outgoing("a.b", args, kwargs, options(), None)


def test_an_argument_that_cannot_be_sent_is_a_type_error_too(options):
    with pytest.raises(TypeError):
        make_outgoing("a.b", [object()], {}, options(), None)


# ── the publisher ──


def test_a_publish_has_a_receipt_and_the_next_a_higher_one(publisher, recording_broker, outgoing):
    publisher.publish([outgoing(1)])
    publisher.publish([outgoing(2)])
    (_, first), (_, second) = recording_broker.calls
    assert first.producer == second.producer
    assert second.number > first.number


def test_a_publish_that_failed_is_repeated_under_the_same_receipt(publisher, recording_broker, outgoing):
    recording_broker.errors = [OperationalError("away")] * 3
    publisher.publish([outgoing()])
    assert len(recording_broker.calls) == 4
    assert len({receipt for _, receipt in recording_broker.calls}) == 1


def test_the_policy_ends_the_tries(recording_broker, outgoing):
    recording_broker.errors = [OperationalError("away")] * 10
    policy = RetryPolicy(max_retries=2, interval_step_s=0)
    with pytest.raises(OperationalError, match="away"):
        Publisher(lambda: recording_broker, lambda: 30.0, lambda: policy).publish([outgoing()])
    assert len(recording_broker.calls) == 3


def test_the_deadline_ends_the_tries(recording_broker, outgoing):
    recording_broker.errors = [OperationalError("away")] * 10
    policy = RetryPolicy(max_retries=None, interval_start_s=5, interval_max_s=5)
    with pytest.raises(OperationalError, match="away"):
        Publisher(lambda: recording_broker, lambda: 1.0, lambda: policy).publish([outgoing()])
    assert len(recording_broker.calls) == 1


@pytest.mark.parametrize("error", [BrokerError("read-only"), ConfigError("no such engine"), RuntimeError("a bug")])
def test_an_error_that_will_not_go_away_is_not_retried(publisher, recording_broker, outgoing, error):
    recording_broker.errors = [error]
    with pytest.raises(type(error)):
        publisher.publish([outgoing()])
    assert len(recording_broker.calls) == 1


def test_a_failed_publish_does_not_taint_the_next(publisher, recording_broker, outgoing):
    recording_broker.errors = [BrokerError("read-only")]
    with pytest.raises(BrokerError):
        publisher.publish([outgoing(1)])
    publisher.publish([outgoing(2)])
    assert len(recording_broker.calls[1][0]) == 1


class Threads:
    """Calls that run at the same time, and how each ended."""

    def __init__(self):
        self.threads = []
        self.errors = {}

    def start(self, name, call):
        def run():
            try:
                call()
            except BaseException as error:
                self.errors[name] = error

        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()

    def join(self):
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive()


def publish_behind_a_gate(publisher, broker, outgoing, count):
    """One publish that is under way, and `count` that wait behind it."""
    broker.gate = threading.Event()
    threads = Threads()
    threads.start(0, lambda: publisher.publish([outgoing(0)]))
    assert broker.entered.wait(30)
    for number in range(1, count + 1):
        threads.start(number, lambda number=number: publisher.publish([outgoing(number)]))
    while len(publisher._line.waiting) < count:
        threading.Event().wait(0.001)
    return threads


def test_threads_that_wait_share_one_call(publisher, recording_broker, outgoing):
    threads = publish_behind_a_gate(publisher, recording_broker, outgoing, 20)
    recording_broker.gate.set()
    threads.join()
    assert [len(sent) for sent, _ in recording_broker.calls] == [1, 20]
    assert threads.errors == {}


def test_threads_that_share_a_call_share_its_error(publisher, recording_broker, outgoing):
    threads = publish_behind_a_gate(publisher, recording_broker, outgoing, 5)
    recording_broker.errors = [BrokerError("read-only"), BrokerError("read-only")]
    recording_broker.gate.set()
    threads.join()
    assert set(threads.errors) == set(range(6))


def test_an_interrupted_sender_does_not_swallow_what_it_took_along(publisher, recording_broker, outgoing):
    threads = publish_behind_a_gate(publisher, recording_broker, outgoing, 2)
    # The second call carries both that waited, and Ctrl-C hits whoever sends it.
    recording_broker.errors = [None, KeyboardInterrupt()]
    recording_broker.gate.set()
    threads.join()
    assert sorted(type(error).__name__ for error in threads.errors.values()) == [
        "KeyboardInterrupt",
        "OperationalError",
    ]


async def test_a_thousand_coroutines_share_calls(publisher, recording_broker, outgoing):
    await asyncio.gather(*(publisher.publish_async([outgoing(number)]) for number in range(1000)))
    assert len(recording_broker.published) == 1000
    assert len(recording_broker.calls) <= 10


async def test_coroutines_that_share_a_call_share_its_error(publisher, recording_broker, outgoing):
    recording_broker.errors = [BrokerError("read-only")]
    ended = await asyncio.gather(*(publisher.publish_async([outgoing()]) for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in ended] == [BrokerError] * 3


async def test_a_cancelled_coroutine_takes_no_other_along(publisher, recording_broker, outgoing):
    recording_broker.gate = threading.Event()
    one, other = (asyncio.create_task(publisher.publish_async([outgoing(number)])) for number in range(2))
    await asyncio.to_thread(recording_broker.entered.wait, 30)
    one.cancel()
    recording_broker.gate.set()
    await other
    assert one.cancelled() or one.cancelling()
    assert len(recording_broker.published) == 2


async def test_publishing_leaves_the_event_loop_free(publisher, recording_broker, outgoing):
    recording_broker.gate = threading.Event()
    sending = asyncio.create_task(publisher.publish_async([outgoing()]))
    await asyncio.to_thread(recording_broker.entered.wait, 30)
    assert not sending.done()
    recording_broker.gate.set()
    await sending


def test_a_forked_child_publishes_under_an_id_of_its_own(publisher, recording_broker, outgoing, fork, tmp_path):
    publisher.publish([outgoing()])

    def publish():
        publisher.publish([outgoing()])
        receipt = recording_broker.calls[-1][1]
        (tmp_path / "receipt").write_text(f"{receipt.producer} {receipt.number}")

    fork(publish)
    producer, number = (tmp_path / "receipt").read_text().split()
    assert producer != recording_broker.calls[0][1].producer
    assert number == "1"


def test_a_child_that_was_forked_during_a_publish_can_publish(publisher, recording_broker, outgoing, fork):
    threads = publish_behind_a_gate(publisher, recording_broker, outgoing, 1)

    def publish():
        recording_broker.gate = None
        publisher.publish([outgoing()])

    fork(publish)
    recording_broker.gate.set()
    threads.join()
