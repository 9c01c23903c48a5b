"""Hearing of results: also after the server was away, and after a fork."""

import threading
from contextlib import ExitStack

import pytest

from celeriac.engines.redis.client import Client
from celeriac.engines.redis.subscriber import Subscriber
from celeriac.engines.redis.urls import parse
from celeriac.exceptions import OperationalError
from support.redis_server import free_port
from support.waiting import PATIENCE_S, until


@pytest.fixture
def client(server):
    client = Client(parse(server.url(), {}, 10.0))
    yield client
    client.close()


@pytest.fixture
def make():
    subscribers = []

    def make(url, timeout_s=10.0):
        subscribers.append(Subscriber(parse(url, {}, timeout_s)))
        return subscribers[-1]

    yield make
    for subscriber in subscribers:
        subscriber.close()


@pytest.fixture
def subscriber(make, server):
    return make(server.url())


def listening(client, channel):
    return client.call("PUBSUB", "NUMSUB", channel)[1]


def hears(client, channel, heard):
    heard.clear()
    client.call("PUBLISH", channel, "x")
    return heard.wait(PATIENCE_S)


def test_nothing_is_opened_before_someone_waits(subscriber, client):
    assert client.call("PUBSUB", "CHANNELS") == []
    assert subscriber._thread is None


def test_who_was_added_hears_and_who_was_removed_does_not(subscriber, client):
    heard = threading.Event()
    subscriber.add("a", heard.set)
    assert listening(client, "a") == 1
    assert hears(client, "a", heard)
    subscriber.remove("a", heard.set)
    subscriber.remove("a", heard.set)
    heard.clear()
    client.call("PUBLISH", "a", "x")
    subscriber.add("b", lambda: None)  # and with the next channel the server hears of it
    assert listening(client, "a") == 0
    assert not heard.is_set()


def test_many_channels_share_one_connection(subscriber, client):
    for number in range(50):
        subscriber.add(f"c{number}", lambda: None)
    assert client.call("CLIENT", "LIST", "TYPE", "pubsub").count(b"\n") == 1


def test_after_a_restart_of_the_server_everybody_is_told_to_look_and_hears_again(subscriber, server):
    first, second = threading.Event(), threading.Event()
    subscriber.add("a", first.set)
    subscriber.add("b", second.set)
    first.clear()
    second.clear()
    server.kill()
    server.start()
    assert first.wait(PATIENCE_S)
    assert second.wait(PATIENCE_S)
    again = Client(parse(server.url(), {}, 10.0))
    assert hears(again, "a", first)
    assert hears(again, "b", second)
    again.close()


def test_a_connection_that_was_cut_is_opened_again(subscriber, client):
    heard = threading.Event()
    subscriber.add("a", heard.set)
    heard.clear()
    client.call("CLIENT", "KILL", "TYPE", "pubsub")
    assert heard.wait(PATIENCE_S)
    assert hears(client, "a", heard)


def test_a_server_that_has_gone_silent_is_given_up(make, puppet):
    greeted = threading.Semaphore(0)

    def answer(*words):
        if words[0] == b"SELECT":
            greeted.release()
            return b"+OK\r\n"
        if words[0] == b"HELLO":
            return b"-NOPERM\r\n"
        if words[0] == b"SUBSCRIBE":
            return b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
        return None

    subscriber = make(puppet(answer).url, timeout_s=0.1)
    subscriber.add("a", lambda: None)
    for _ in range(3):
        assert greeted.acquire(timeout=PATIENCE_S)


def test_adding_while_nobody_is_there_fails_at_the_deadline_and_leaves_nothing(make):
    subscriber = make(f"redis://127.0.0.1:{free_port()}/0", timeout_s=0.2)
    with pytest.raises(OperationalError):
        subscriber.add("a", lambda: None)
    assert subscriber._channels == {}


def test_a_closed_subscriber_starts_again(subscriber, client):
    heard = threading.Event()
    subscriber.add("a", heard.set)
    thread = subscriber._thread
    subscriber.close()
    subscriber.close()
    assert not thread.is_alive()
    until(lambda: listening(client, "a") == 0, "the connection is closed")
    subscriber.add("a", heard.set)
    assert hears(client, "a", heard)


def in_thread(call):
    """The list that gets its value, and the thread."""
    values = []
    thread = threading.Thread(target=lambda: values.append(call()), daemon=True)
    thread.start()
    return values, thread


def test_who_follows_gets_what_is_there_by_subscribing(subscriber, client):
    client.call("SET", "a", "there")
    with subscriber.follow("a") as follower:
        assert follower.wait(PATIENCE_S) == b"there"
        assert follower.wait(0) is None
    assert subscriber._thread is None


def test_who_follows_gets_what_is_published_in_its_own_thread(subscriber, client):
    with subscriber.follow("a") as follower:
        values, thread = in_thread(lambda: follower.wait(PATIENCE_S))
        until(lambda: listening(client, "a"), "it listens")
        client.call("PUBLISH", "a", "new")
        thread.join(PATIENCE_S)
        assert values == [b"new"]
    assert subscriber._thread is None


def test_when_who_reads_has_its_own_another_one_goes_on(subscriber, client):
    with ExitStack() as following:
        followers = [following.enter_context(subscriber.follow(f"c{number}")) for number in range(8)]
        waiting = [in_thread(lambda one=one: one.wait(PATIENCE_S)) for one in followers]
        until(lambda: listening(client, "c7"), "they listen")
        for number, (values, thread) in enumerate(waiting):
            client.call("PUBLISH", f"c{number}", str(number))
            thread.join(PATIENCE_S)
            assert values == [str(number).encode()]


def test_followers_and_who_is_called_back_hear_of_the_same_channel(subscriber, client):
    heard = threading.Event()
    with subscriber.follow("a") as follower:
        values, thread = in_thread(lambda: follower.wait(PATIENCE_S))
        subscriber.add("a", heard.set)
        until(lambda: listening(client, "a"), "it listens")
        assert hears(client, "a", heard)
        thread.join(PATIENCE_S)
        assert values == [b"x"]


def test_who_follows_through_a_restart_gets_what_was_stored_meanwhile(subscriber, server, client):
    with subscriber.follow("a") as follower:
        assert follower.wait(0.01) is None
        server.kill()
        with pytest.raises(OperationalError):
            follower.wait(PATIENCE_S)
        server.start()
        Client(parse(server.url(), {}, 10.0)).call("SET", "a", "meanwhile")

        def patiently():
            while True:
                try:
                    return follower.wait(PATIENCE_S)
                except OperationalError:
                    pass

        values, thread = in_thread(patiently)
        thread.join(PATIENCE_S)
        assert values == [b"meanwhile"]


def test_where_commands_may_not_stand_beside_subscriptions_who_follows_is_told_to_look(make, puppet):
    def answer(*words):
        return {
            b"SELECT": b"+OK\r\n",
            b"HELLO": b"-NOPERM\r\n",
            b"SUBSCRIBE": b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n",
        }.get(words[0])

    with make(puppet(answer).url).follow("a") as follower:
        assert follower.wait(PATIENCE_S) is None
        assert follower.wait(PATIENCE_S) == b"x"


def test_channels_that_nobody_needs_are_given_up_in_the_end(subscriber, client):
    for number in range(1000):
        with subscriber.follow(f"c{number}") as follower:
            assert follower.wait(0) is None
    assert len(subscriber._stale) < 64
    assert len(client.call("PUBSUB", "CHANNELS")) <= 64
    client.call("SET", "last", "x")
    with subscriber.follow("last") as follower:
        assert follower.wait(PATIENCE_S) == b"x"
    assert not subscriber._asked


def test_a_forked_child_has_a_subscriber_of_its_own(subscriber, client, fork):
    heard = threading.Event()
    subscriber.add("a", heard.set)

    def work():
        assert subscriber._channels == {}
        own = threading.Event()
        subscriber.add("b", own.set)
        own.clear()
        client.call("PUBLISH", "b", "x")
        assert own.wait(PATIENCE_S)
        subscriber.close()
        client.close()

    fork(work)
    assert hears(client, "a", heard)
