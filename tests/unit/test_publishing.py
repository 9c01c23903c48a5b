import asyncio
import threading
import time

import pytest

from celeriac.exceptions import BrokerError, ConfigError, EncodeError, OperationalError, PartlyPublished
from celeriac.messages import Outgoing
from celeriac.publishing import Publisher, _Line, _Parcel
from celeriac.retries import RetryPolicy

AT_ONCE = RetryPolicy(max_retries=None, interval_step_s=0)


@pytest.fixture
def outgoing(make_message):
    return lambda number=0: Outgoing(make_message(args=[number]), "celery", None)


@pytest.fixture
def publisher(recording_broker):
    return Publisher(lambda: recording_broker, lambda: 30.0, lambda: AT_ONCE)


def test_a_publish_has_a_receipt_and_the_next_a_higher_one(publisher, recording_broker, outgoing):
    publisher.publish(outgoing(1))
    publisher.publish(outgoing(2))
    (_, first), (_, second) = recording_broker.calls
    assert first.producer == second.producer
    assert second.number > first.number


def test_a_publish_that_failed_is_repeated_under_the_same_receipt(publisher, recording_broker, outgoing):
    recording_broker.errors = [OperationalError("away")] * 3
    publisher.publish(outgoing())
    assert len(recording_broker.calls) == 4
    assert len({receipt for _, receipt in recording_broker.calls}) == 1


def test_the_policy_ends_the_tries(recording_broker, outgoing):
    recording_broker.errors = [OperationalError("away")] * 10
    policy = RetryPolicy(max_retries=2, interval_step_s=0)
    with pytest.raises(OperationalError, match="away"):
        Publisher(lambda: recording_broker, lambda: 30.0, lambda: policy).publish(outgoing())
    assert len(recording_broker.calls) == 3


def test_the_deadline_ends_the_tries(recording_broker, outgoing):
    recording_broker.errors = [OperationalError("away")] * 10
    policy = RetryPolicy(max_retries=None, interval_start_s=5, interval_max_s=5)
    with pytest.raises(OperationalError, match="away"):
        Publisher(lambda: recording_broker, lambda: 1.0, lambda: policy).publish(outgoing())
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
        Publisher(lambda: broker, lambda: 0.5, lambda: AT_ONCE).publish(outgoing())
    assert broker.calls == 1


@pytest.mark.parametrize("error", [BrokerError("read-only"), ConfigError("no such engine"), RuntimeError("a bug")])
def test_an_error_that_will_not_go_away_is_not_retried(publisher, recording_broker, outgoing, error):
    recording_broker.errors = [error]
    with pytest.raises(type(error)):
        publisher.publish(outgoing())
    assert len(recording_broker.calls) == 1


def test_a_failed_publish_does_not_taint_the_next(publisher, recording_broker, outgoing):
    recording_broker.errors = [BrokerError("read-only")]
    with pytest.raises(BrokerError):
        publisher.publish(outgoing(1))
    publisher.publish(outgoing(2))
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
    threads.start(0, lambda: publisher.publish(outgoing(0)))
    assert broker.entered.wait(30)
    for number in range(1, count + 1):
        threads.start(number, lambda number=number: publisher.publish(outgoing(number)))
    while len(publisher._line.waiting) < count:
        threading.Event().wait(0.001)
    return threads


def test_threads_that_wait_share_one_call(publisher, recording_broker, outgoing):
    threads = publish_behind_a_gate(publisher, recording_broker, outgoing, 20)
    recording_broker.gate.set()
    threads.join()
    assert [len(sent) for sent, _ in recording_broker.calls] == [1, 20]
    assert threads.errors == {}


def test_threads_that_share_a_call_share_an_outage(publisher, recording_broker, outgoing):
    publisher._policy = lambda: RetryPolicy(max_retries=0)
    threads = publish_behind_a_gate(publisher, recording_broker, outgoing, 5)
    recording_broker.errors = [OperationalError("away")] * 2
    recording_broker.gate.set()
    threads.join()
    assert set(threads.errors) == set(range(6))


class Choosy:
    """Refuses every publish that has a certain message in it."""

    def __init__(self, broker, refused, error):
        self.broker, self.refused, self.error = broker, refused, error

    def publish(self, outgoing, receipt):
        if any(one.message.id == self.refused for one in outgoing):
            raise self.error
        self.broker.publish(outgoing, receipt)


@pytest.fixture
def named(make_message):
    return lambda number: Outgoing(make_message(id=f"id-{number}"), "celery", None)


@pytest.mark.parametrize("error", [BrokerError("of the wrong type"), EncodeError("a header")])
async def test_what_is_refused_for_one_message_hits_its_caller_alone(recording_broker, named, error):
    publisher = Publisher(lambda: Choosy(recording_broker, "id-5", error), lambda: 30.0, lambda: AT_ONCE)
    ended = await asyncio.gather(*(publisher.publish_async(named(n)) for n in range(20)), return_exceptions=True)
    assert [number for number, one in enumerate(ended) if one is not None] == [5]
    assert sorted(one.message.id for one in recording_broker.published) == sorted(
        f"id-{n}" for n in range(20) if n != 5
    )


async def test_what_may_be_stored_is_not_sent_again(recording_broker, named):
    """Under another receipt it would be stored twice."""
    error = PartlyPublished("one queue refused")
    publisher = Publisher(lambda: Choosy(recording_broker, "id-5", error), lambda: 30.0, lambda: AT_ONCE)
    ended = await asyncio.gather(*(publisher.publish_async(named(n)) for n in range(20)), return_exceptions=True)
    assert [type(one) for one in ended] == [PartlyPublished] * 20
    assert recording_broker.calls == []


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
    await asyncio.gather(*(publisher.publish_async(outgoing(number)) for number in range(1000)))
    assert len(recording_broker.published) == 1000
    assert len(recording_broker.calls) <= 10


async def test_coroutines_that_share_a_call_share_an_outage(recording_broker, outgoing):
    recording_broker.errors = [OperationalError("away")]
    publisher = Publisher(lambda: recording_broker, lambda: 30.0, lambda: RetryPolicy(max_retries=0))
    ended = await asyncio.gather(*(publisher.publish_async(outgoing()) for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in ended] == [OperationalError] * 3


async def test_more_coroutines_than_go_together_take_turns(publisher, recording_broker, outgoing):
    await asyncio.gather(*(publisher.publish_async(outgoing()) for _ in range(2500)))
    assert [len(sent) for sent, _ in recording_broker.calls] == [1000, 1000, 500]


def test_large_messages_go_a_few_at_a_time(publisher, recording_broker, make_message):
    large = Outgoing(make_message(body=b"x" * 600_000), "celery", None)
    publisher.publish_many([large] * 5)
    assert [len(sent) for sent, _ in recording_broker.calls] == [2, 2, 1]


def test_many_do_not_hold_up_other_calls(publisher, recording_broker, outgoing):
    recording_broker.gate = threading.Event()
    threads = Threads()
    threads.start("many", lambda: publisher.publish_many([outgoing()] * 2000))
    assert recording_broker.entered.wait(30)
    many, recording_broker.gate = recording_broker.gate, None
    publisher.publish(outgoing())
    many.set()
    threads.join()
    (first, one), (second, other), _ = recording_broker.calls
    assert (len(first), len(second)) == (1000, 1)
    assert one.producer != other.producer


def test_those_who_send_by_themselves_one_after_the_other_are_one_producer(publisher, recording_broker, outgoing):
    """The store remembers the last receipt of each producer for a day."""
    for _ in range(3):
        publisher.publish_many([outgoing()])
    receipts = [receipt for _, receipt in recording_broker.calls]
    assert len({receipt.producer for receipt in receipts}) == 1
    assert [receipt.number for receipt in receipts] == [1, 2, 3]


async def test_a_cancelled_coroutine_takes_no_other_along(publisher, recording_broker, outgoing):
    recording_broker.gate = threading.Event()
    one, other = (asyncio.create_task(publisher.publish_async(outgoing(number))) for number in range(2))
    await asyncio.to_thread(recording_broker.entered.wait, 30)
    one.cancel()
    recording_broker.gate.set()
    await other
    assert one.cancelled() or one.cancelling()
    assert len(recording_broker.published) == 2


async def test_publishing_leaves_the_event_loop_free(publisher, recording_broker, outgoing):
    recording_broker.gate = threading.Event()
    sending = asyncio.create_task(publisher.publish_async(outgoing()))
    await asyncio.to_thread(recording_broker.entered.wait, 30)
    assert not sending.done()
    recording_broker.gate.set()
    await sending


def test_a_forked_child_publishes_under_an_id_of_its_own(publisher, recording_broker, outgoing, fork, tmp_path):
    publisher.publish(outgoing())

    def publish():
        publisher.publish(outgoing())
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
        publisher.publish(outgoing())

    fork(publish)
    recording_broker.gate.set()
    threads.join()


# ── whose turn it is ──


@pytest.fixture
def enter(outgoing):
    """Have someone enter a line: their parcels, and what they wait at."""

    def enter(line):
        parcels = [_Parcel(outgoing())]
        return parcels, line.enter(parcels)

    return enter


def sent(line):
    taken = line.take()
    for parcel in taken:
        parcel.sent = True
    line.tell()
    return taken


def test_who_waits_goes_when_theirs_is_sent_and_not_when_the_line_is_free(enter):
    line = _Line()
    _, first = enter(line)
    _, second = enter(line)
    assert first is None
    assert not second.acquire(blocking=False)
    sent(line)
    assert second.acquire(blocking=False)


def test_the_next_sends_when_the_sender_goes(enter):
    line = _Line()
    one, _ = enter(line)
    sent(line)
    other, turn = enter(line)
    line.leave(one)
    assert turn.acquire(blocking=False)
    assert sent(line) == other
    line.leave(other)
    assert enter(line)[1] is None


def test_one_that_is_interrupted_while_it_waits_is_not_sent_and_holds_up_nobody(enter):
    line = _Line()
    one, _ = enter(line)
    interrupted, _ = enter(line)
    other, turn = enter(line)
    line.leave(interrupted)
    assert sent(line) == one + other
    assert turn.acquire(blocking=False)
    line.leave(one)
    assert enter(line)[1] is None


def test_one_that_is_interrupted_when_it_was_to_send_has_the_next_one_send(enter):
    line = _Line()
    one, _ = enter(line)
    sent(line)
    interrupted, _ = enter(line)
    other, turn = enter(line)
    line.leave(one)
    line.leave(interrupted)
    assert turn.acquire(blocking=False)
    assert sent(line) == other
