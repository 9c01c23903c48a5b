"""The connections of a process: how many, how old, whose."""

import threading

import pytest

from celeriac.engines.redis.client import Client
from celeriac.engines.redis.urls import parse
from celeriac.exceptions import BrokerError, OperationalError
from support.waiting import until


@pytest.fixture
def make(server):
    clients = []

    def make(timeout_s=10.0, **options):
        clients.append(Client(parse(server.url(), options, timeout_s)))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def connections(client):
    return client.call("CLIENT", "LIST").count(b"\n")


def own_id(client):
    return client.call("CLIENT", "ID")


def test_a_connection_is_used_again(make):
    client = make()
    assert own_id(client) == own_id(client)


def test_a_script_that_the_server_forgot_is_sent_again(make):
    client = make()
    request = ("register", "n", "{}", 1000, ("q",))
    assert client.script("node", *request) == 1
    client.call("SCRIPT", "FLUSH")
    assert client.script("node", *request) == 1
    assert client.script("node", *request) == 1


def test_a_connection_that_the_server_closed_fails_no_call(make):
    client, other = make(), make()
    first = own_id(client)
    other.call("CLIENT", "KILL", "ID", first)
    until(lambda: client._idle[0][0].readable(0), "the end of the connection has come")
    assert own_id(client) != first


def test_a_restart_of_the_server_fails_no_call_after_it(make, server):
    client = make()
    with client.connection(), client.connection():
        pass
    server.kill()
    server.start()
    for _ in range(3):
        assert client.call("PING") == b"PONG"


def test_a_connection_that_was_idle_for_long_is_not_trusted(make):
    client = make(health_check_interval=0.001)
    first = own_id(client)
    threading.Event().wait(0.01)
    assert own_id(client) != first


def test_no_more_connections_than_allowed_are_opened_and_callers_take_turns(make):
    client, watcher = make(max_connections=2), make()
    errors = []

    def work():
        try:
            for _ in range(20):
                client.call("PING")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert connections(watcher) <= 3


def test_waiting_for_a_connection_ends_at_the_deadline_and_says_what_to_do(make):
    client = make(timeout_s=0.1, max_connections=1)
    with client.connection(), pytest.raises(OperationalError, match="raise max_connections"):
        client.call("PING")
    assert client.call("PING") == b"PONG"


def test_a_connection_that_failed_is_not_used_again(make, server):
    client = make(timeout_s=0.2)
    first = own_id(client)
    server.pause()
    with pytest.raises(OperationalError, match="no answer in time"):
        client.call("INCR", "counter")
    server.resume()
    assert client.call("PING") == b"PONG"
    assert own_id(client) != first
    until(lambda: client.call("GET", "counter") == b"1", "the late command is carried out, once")


def test_an_error_answer_leaves_the_connection_usable(make):
    client = make()
    first = own_id(client)
    with pytest.raises(BrokerError):
        client.call("NOSUCHCOMMAND")
    assert own_id(client) == first


def test_what_an_exception_interrupts_is_closed(make):
    client = make()
    first = own_id(client)

    def interrupt():
        with client.connection() as connection:
            connection.send("PING")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert own_id(client) != first


def test_what_is_lent_when_the_client_is_closed_is_closed_when_it_comes_back(make):
    client = make()
    with client.connection() as connection:
        client.close()
        assert connection.call("PING") == b"PONG"
    assert client._idle == []
    assert connection.fileno() == -1


def test_a_wrong_type_names_the_key(make):
    client = make()
    client.call("SET", "mine", "x")
    with pytest.raises(BrokerError, match="mine is of another type"):
        client.call("LPUSH", "mine", "y")


def test_a_forked_child_has_connections_of_its_own(make, fork):
    client = make()
    parents = own_id(client)

    def work():
        assert client._idle == []
        assert own_id(client) != parents
        client.close()

    fork(work)
    assert own_id(client) == parents
