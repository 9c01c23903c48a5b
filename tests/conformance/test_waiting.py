"""Sleeping until there is work: no wake-up is lost, none wakes everybody."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable

import pytest

from celeriac.engines.base import Ack, Broker, Commit, Owner, Requeue
from conformance.engines import Engine, Other
from conformance.making import YOU, Producer, claim, commit, ids, outgoing, settle
from support.processes import machine_load
from support.waiting import PATIENCE_S, until

#: Far below the time-out of a wait, far above what a wake-up takes on a busy machine.
AT_ONCE_S = PATIENCE_S / 3


class Waiter:
    """A thread in `wait`."""

    def __init__(self, broker: Broker, timeout_s: float = PATIENCE_S) -> None:
        self._broker = broker
        self._timeout_s = timeout_s
        self.ended = threading.Event()
        self.returned_at = 0.0
        self._thread = threading.Thread(target=self._wait, daemon=True)
        self._thread.start()

    def _wait(self) -> None:
        self._broker.wait(self._timeout_s)
        self.returned_at = time.perf_counter()
        self.ended.set()

    def end(self) -> None:
        self._broker.wake()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


def returns_at_once(broker: Broker) -> bool:
    """Whether `wait` ends well before its time-out."""
    began = time.monotonic()
    broker.wait(PATIENCE_S)
    return time.monotonic() - began < AT_ONCE_S


def test_wait_ends_at_its_time_out(broker: Broker) -> None:
    began = time.monotonic()
    broker.wait(0.1)
    assert 0.09 <= time.monotonic() - began < AT_ONCE_S


def test_wait_of_no_time_does_not_wait(broker: Broker) -> None:
    broker.wait(0.0)
    broker.wait(-1.0)


def test_wake_ends_a_wait(broker: Broker) -> None:
    waiter = Waiter(broker)
    broker.wake()
    assert waiter.ended.wait(AT_ONCE_S)


def test_a_wake_before_the_wait_is_not_lost(broker: Broker) -> None:
    broker.wake()
    assert returns_at_once(broker)


def test_any_number_of_wakes_before_the_wait_does_no_harm(broker: Broker) -> None:
    for _ in range(70_000 // 2 + 10):
        broker.wake()
    assert returns_at_once(broker)


def test_a_publish_by_someone_else_wakes_a_parked_claim(broker: Broker, other: Other) -> None:
    assert claim(broker, park=True) == []
    waiter = Waiter(broker)
    Producer(other.broker).send("a")
    assert waiter.ended.wait(AT_ONCE_S)
    assert ids(claim(broker)) == ["a"]


def test_a_publish_of_the_same_process_wakes_a_parked_claim(broker: Broker, producer: Producer) -> None:
    assert claim(broker, park=True) == []
    waiter = Waiter(broker)
    producer.send("a")
    assert waiter.ended.wait(AT_ONCE_S)


def test_a_publish_between_the_claim_and_the_wait_is_not_lost(broker: Broker, other: Other) -> None:
    assert claim(broker, park=True) == []
    Producer(other.broker).send("a")
    assert returns_at_once(broker)


def test_a_parked_claim_is_woken_for_each_of_its_queues(broker: Broker, other: Other) -> None:
    producer = Producer(other.broker)
    for queue in ("two", "one"):
        assert claim(broker, "one", "two", park=True) == []
        producer.send(outgoing("a", queue))
        assert returns_at_once(broker)
        assert ids(claim(broker, "one", "two")) == ["a"]


def test_a_parked_claim_is_not_woken_for_other_queues(broker: Broker, producer: Producer) -> None:
    assert claim(broker, "one", park=True) == []
    waiter = Waiter(broker)
    producer.send(outgoing("a", "two"))
    assert not waiter.ended.wait(0.2)
    waiter.end()


def test_a_message_that_comes_back_wakes_a_parked_claim(broker: Broker, other: Other, producer: Producer) -> None:
    producer.send("a")
    (lease,) = claim(other.broker, owner=YOU)
    assert claim(broker, park=True) == []
    assert settle(other.broker, lease, Requeue(), owner=YOU)
    assert returns_at_once(broker)


def test_a_message_that_a_commit_publishes_wakes_a_parked_claim(
    broker: Broker, other: Other, producer: Producer
) -> None:
    producer.send(outgoing("a", "first"))
    (lease,) = claim(other.broker, "first", owner=YOU)
    assert claim(broker, park=True) == []
    assert commit(other.broker, Commit(lease.token, Ack(), messages=(outgoing("next"),)), owner=YOU)
    assert returns_at_once(broker)


@pytest.mark.usefixtures("served")
def test_a_delayed_message_wakes_a_parked_claim_to_learn_its_time(broker: Broker, other: Other) -> None:
    assert claim(broker, park=True) == []
    Producer(other.broker).send(outgoing("a", due=time.time() + 60))
    assert returns_at_once(broker)


def test_an_exhumed_message_wakes_a_parked_claim(broker: Broker, other: Other, producer: Producer) -> None:
    from celeriac.engines.base import Bury

    producer.send("a")
    (lease,) = claim(broker)
    assert settle(broker, lease, Bury("bad"))
    assert claim(broker, park=True) == []
    (letter,) = other.broker.dead()
    assert other.broker.exhume(letter.id, outgoing("a"))
    assert returns_at_once(broker)


def test_resuming_a_queue_wakes_who_parked_before_the_pause(broker: Broker, other: Other) -> None:
    assert claim(broker, park=True) == []
    other.broker.pause("q")
    Producer(other.broker).send("a")
    claim(broker, park=True)
    _drain(broker)
    other.broker.resume("q")
    assert returns_at_once(broker)
    assert ids(claim(broker)) == ["a"]


def test_resuming_a_queue_wakes_who_parked_while_it_was_paused(broker: Broker, other: Other) -> None:
    other.broker.pause("q")
    Producer(other.broker).send("a")
    assert claim(broker, park=True) == []
    _drain(broker)
    other.broker.resume("q")
    assert returns_at_once(broker)


def _drain(broker: Broker) -> None:
    """Take in wake-ups that have been given."""
    broker.wait(0.0)


def test_one_message_wakes_one_of_many(broker: Broker, connect: Callable[[], Broker], producer: Producer) -> None:
    sleepers = [connect() for _ in range(5)]
    for number, sleeper in enumerate(sleepers):
        assert claim(sleeper, owner=Owner("n", number), park=True) == []
    waiters = [Waiter(sleeper) for sleeper in sleepers]
    producer.send("a")
    until(lambda: any(waiter.ended.is_set() for waiter in waiters), "one is woken")
    threading.Event().wait(0.2)
    assert sum(waiter.ended.is_set() for waiter in waiters) == 1
    for waiter in waiters:
        waiter.end()


def test_as_many_are_woken_as_messages_came(broker: Broker, connect: Callable[[], Broker], producer: Producer) -> None:
    sleepers = [connect() for _ in range(5)]
    for number, sleeper in enumerate(sleepers):
        assert claim(sleeper, owner=Owner("n", number), park=True) == []
    waiters = [Waiter(sleeper) for sleeper in sleepers]
    producer.send("a", "b", "c")
    until(lambda: sum(waiter.ended.is_set() for waiter in waiters) >= 3, "three are woken")
    threading.Event().wait(0.2)
    assert sum(waiter.ended.is_set() for waiter in waiters) == 3
    for waiter in waiters:
        waiter.end()


@pytest.mark.usefixtures("served")
def test_who_leaves_something_wakes_the_next(connect: Callable[[], Broker], producer: Producer) -> None:
    busy, idle = connect(), connect()
    due = time.time() + 0.5
    producer.send(outgoing("a", due=due), outgoing("b", due=due))
    if claim(idle, owner=Owner("n", 1), park=True):
        pytest.skip("publishing took so long that nothing was left to wait for")
    until(lambda: claim(busy, limit=1, owner=Owner("n", 2)), "both are due")
    assert returns_at_once(idle)
    assert ids(claim(idle, owner=Owner("n", 1))) == ["b"]


def test_who_took_another_message_passes_the_wake_up_on(
    broker: Broker, connect: Callable[[], Broker], producer: Producer
) -> None:
    sleepers = [connect(), connect()]
    for number, sleeper in enumerate(sleepers):
        assert claim(sleeper, owner=Owner("n", number), park=True) == []
    producer.send("a")
    woken = 0 if _is_woken(sleepers[0]) else 1
    producer.send("b")  # for the one that still sleeps, which does not look yet
    assert ids(claim(sleepers[woken], limit=1, owner=Owner("n", woken))) == ["a"]
    assert returns_at_once(sleepers[1 - woken])


def _is_woken(broker: Broker) -> bool:
    began = time.monotonic()
    broker.wait(0.2)
    return time.monotonic() - began < 0.19


@pytest.mark.usefixtures("served")
def test_who_got_busy_by_itself_takes_no_wake_up_away(
    broker: Broker, connect: Callable[[], Broker], producer: Producer
) -> None:
    busy, idle = connect(), connect()
    for round_number in range(5):  # whom a publish wakes is the engine's choice, so one round proves little
        producer.send(outgoing(f"delayed-{round_number}", due=time.time() + 0.05))
        if not claim(busy, owner=Owner("n", 1), park=True):
            until(lambda: claim(busy, owner=Owner("n", 1), park=True), "the delayed message is due")
        claim(idle, owner=Owner("n", 2), park=True)
        _drain(idle)
        producer.send("a")
        assert returns_at_once(idle)
        assert ids(claim(idle, owner=Owner("n", 2))) == ["a"]
        _drain(busy)


def test_a_waiter_that_died_takes_no_wake_up_away(engine: Engine, broker: Broker, producer: Producer) -> None:
    for round_number in range(3):
        dead = engine.other()
        claim(dead.broker, owner=Owner("dead", round_number), park=True)
        assert claim(broker, park=True) == []
        _drain(broker)
        dead.kill()
        if not engine.lasting:
            dead.broker._bell.close()  # type: ignore[attr-defined]  # goes with a process
        producer.send("a")
        assert returns_at_once(broker)
        assert ids(claim(broker)) == ["a"]


def test_a_parked_claim_starts_within_milliseconds(
    broker: Broker, connect: Callable[[], Broker], producer: Producer, figure: Callable[[str], None]
) -> None:
    sleeper = connect()
    took = []
    with machine_load() as load:
        for number in range(50):
            assert claim(sleeper, park=True) == []
            waiter = Waiter(sleeper)
            began = time.perf_counter()
            producer.send(str(number))
            assert waiter.ended.wait(AT_ONCE_S)
            took.append(waiter.returned_at - began)
            assert len(claim(sleeper)) == 1
    median = statistics.median(took)
    figure(f"publish to wake-up: median {median * 1000:.2f} ms, worst of 50 {max(took) * 1000:.1f} ms")
    assert median < (0.005 if load.at_rest else 0.1)
