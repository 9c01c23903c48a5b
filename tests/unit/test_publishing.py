import asyncio
import threading
import time

import pytest

from celeriac.exceptions import BrokerError, ConfigError, OperationalError
from celeriac.messages import Outgoing
from celeriac.publishing import Publisher
from celeriac.retries import RetryPolicy

AT_ONCE = RetryPolicy(max_retries=None, interval_step_s=0)


@pytest.fixture
def outgoing(make_message):
    return lambda number=0: Outgoing(make_message(args=[number]), "celery", None)


@pytest.fixture
def publisher(recording_broker):
    return Publisher(lambda: recording_broker, lambda: 30.0, lambda: AT_ONCE)


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


def test_a_try_that_would_end_after_the_deadline_is_not_begun(outgoing):
    """A server that does not answer costs its time-out, and the next try would cost it again."""

    class Slow:
        calls = 0

        def publish(self, outgoing, receipt):
            self.calls += 1
            time.sleep(0.3)
            raise OperationalError("no answer in time")

    broker = Slow()
    with pytest.raises(OperationalError, match="no answer"):
        Publisher(lambda: broker, lambda: 0.5, lambda: AT_ONCE).publish([outgoing()])
    assert broker.calls == 1


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
