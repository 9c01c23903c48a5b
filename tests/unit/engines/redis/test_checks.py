"""What is said of a server's set-up: a sentence each."""

import pytest

from celeriac.engines.redis.checks import warnings
from celeriac.engines.redis.client import Client
from celeriac.engines.redis.urls import parse
from celeriac.exceptions import BrokerError, OperationalError


@pytest.fixture
def check():
    clients = []

    def check(url, **options):
        clients.append(Client(parse(url, options, 5.0)))
        return warnings(clients[-1])

    yield check
    for client in clients:
        client.close()


@pytest.fixture
def set_up(server):
    def set_up(**values):
        for name, value in values.items():
            assert server.call("CONFIG", "SET", name.replace("_", "-"), value) == b"+OK"

    yield set_up
    set_up(appendonly="no", save="", maxmemory_policy="noeviction")


def informed(version):
    text = f"# Server\r\nredis_version:{version}\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n"
    return f"${len(text)}\r\n{text}\r\n".encode()


def test_a_careful_set_up_is_not_commented(check, set_up, server):
    set_up(appendonly="yes")
    assert check(server.url()) == []


def test_snapshots_are_persistence_too(check, set_up, server):
    set_up(save="60 1")
    assert check(server.url()) == []


def test_no_persistence_is_a_sentence(check, server):
    (sentence,) = check(server.url())
    assert sentence == "Redis keeps nothing on disk, so a restart of it loses all tasks: set appendonly yes"


def test_eviction_is_a_sentence(check, set_up, server):
    set_up(appendonly="yes", maxmemory_policy="allkeys-lru")
    (sentence,) = check(server.url())
    assert "maxmemory-policy allkeys-lru" in sentence
    assert "set maxmemory-policy noeviction" in sentence


def test_replicas_that_are_missing_are_a_sentence(check, set_up, server):
    set_up(appendonly="yes")
    (sentence,) = check(server.url(), publish_replicas=1)
    assert "0 connected replicas, so publishing with publish_replicas=1 fails" in sentence


@pytest.mark.parametrize("version", ["6.0.16", "5.0", "2.8.24"])
def test_an_old_server_is_refused(check, puppet, version):
    url = puppet(lambda *words: informed(version) if words[0] == b"INFO" else b"+OK\r\n").url
    with pytest.raises(BrokerError, match=rf"runs Redis {version}; celeriac needs 6\.2 or newer") as caught:
        check(url)
    assert not isinstance(caught.value, OperationalError)


@pytest.mark.parametrize("version", ["6.2.0", "7.4.1", "8.0", "10.0.1", ""])
def test_a_new_server_is_accepted(check, puppet, version):
    assert check(puppet(lambda *words: informed(version) if words[0] == b"INFO" else b"+OK\r\n").url) == []


def test_a_server_that_does_not_let_us_look_is_believed(check, puppet):
    denied = b"-NOPERM this user has no permissions to run the command\r\n"
    assert check(puppet(lambda *words: denied if words[0] in (b"INFO", b"CONFIG") else b"+OK\r\n").url) == []


def test_a_server_that_is_away_is_an_outage(check, server):
    server.kill()
    with pytest.raises(OperationalError):
        check(server.url())
