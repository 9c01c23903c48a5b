"""One store, many users: several brokers, threads, forks, and closing."""

from __future__ import annotations

import threading
from collections.abc import Callable

from celeriac.engines.base import Broker, Receipt
from conformance.engines import Engine, Other
from conformance.making import YOU, Producer, claim, ids, outgoing, queue_state, settle
from conformance.peer import Peer
from conformance.remote import publish_across_a_fork, watch_across_a_fork


def test_two_brokers_see_one_store(broker: Broker, connect: Callable[[], Broker]) -> None:
    second = connect()
    Producer(broker).send("a")
    Producer(second).send("b")
    (lease, _) = claim(second, owner=YOU)
    assert ids(broker.held(YOU)) == ["a", "b"]
    assert settle(broker, lease, owner=YOU)
    assert ids(second.held(YOU)) == ["b"]


def test_two_processes_see_one_store(broker: Broker, other: Other) -> None:
    Producer(broker).send("a")
    Producer(other.broker).send("b")
    assert ids(other.broker.peek("q")) == ["a", "b"]
    assert ids(claim(broker)) == ["a", "b"]


def test_many_threads_publish_through_one_broker(broker: Broker) -> None:
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(1, 21):
                broker.publish([outgoing(f"{number}-{turn}")], Receipt(f"thread-{number}", turn))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    found = ids(broker.peek("q", 1000))
    assert len(set(found)) == len(found) == 160
    for number in range(8):
        own = [name for name in found if name and name.startswith(f"{number}-")]
        assert own == [f"{number}-{turn}" for turn in range(1, 21)]


def test_a_closed_broker_opens_again_at_the_next_call(engine: Engine, broker: Broker, producer: Producer) -> None:
    producer.send("a")
    broker.wake()
    broker.close()
    broker.close()
    producer.send("b")
    assert ids(broker.peek("q")) == (["a", "b"] if engine.lasting else ["b"])
    broker.wake()
    broker.wait(30)


def test_a_closed_broker_takes_nothing_from_others(
    engine: Engine, broker: Broker, connect: Callable[[], Broker]
) -> None:
    if engine.lasting:
        second = connect()
        Producer(second).send("a")
        broker.queues()
        broker.close()
        Producer(second).send("b")
        assert ids(engine.connect().peek("q")) == ["a", "b"]


def test_opening_a_second_broker_takes_nothing_from_the_first(engine: Engine, broker: Broker, other: Other) -> None:
    # A file's locks belong to the process: opening it carelessly would let go of those of the first broker, and the other
    # process would clear away the log that the first still writes to.
    producer = Producer(broker)
    producer.send("a")
    engine.connect().queues()
    Producer(other.broker).send("b")
    other.close()
    producer.send("c")
    assert ids(engine.other().broker.peek("q")) == ["a", "b", "c"]


def test_a_forked_child_uses_the_store_or_is_refused_in_words(engine: Engine) -> None:
    with Peer(engine.url, engine.folder) as process:
        met, found = process.run(publish_across_a_fork, engine.url, engine.folder)
    if engine.lasting:
        assert met == "fine"
        assert sorted(map(str, found)) == ["before", "child-1", "child-2", "parent", "third"]
        assert queue_state(engine.connect()).ready == 5
    else:
        assert met == "ConfigError"


def test_parent_and_child_hear_of_their_own_results(engine: Engine) -> None:
    if engine.lasting:
        with Peer(engine.url, engine.folder) as process:
            assert process.run(watch_across_a_fork)
