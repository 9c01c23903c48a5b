"""Every part of connecting ends by the deadline."""

import socket
import threading
import time

import pytest

from celeriac.engines.redis import dialing
from celeriac.engines.redis.dialing import dial


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def resolver(monkeypatch):
    """`resolver.answers = [...]`: what a name leads to."""
    real = socket.getaddrinfo

    class Resolver:
        def __init__(self):
            self.answers = []
            self.silent = threading.Event()

        def __call__(self, host, port, **options):
            if options.get("flags"):
                return real(host, port, **options)
            if not self.answers:
                self.silent.wait(30)
            return [found for address in self.answers for found in real(*address, type=socket.SOCK_STREAM)]

    resolver = Resolver()
    monkeypatch.setattr(dialing.socket, "getaddrinfo", resolver)
    yield resolver
    resolver.silent.set()


def test_a_number_is_dialled_without_the_resolver(listener, resolver):
    dial("127.0.0.1", listener.getsockname()[1], time.monotonic() + 5).close()


def test_the_next_address_is_tried_when_one_refuses(listener, resolver):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        resolver.answers = [closed.getsockname(), listener.getsockname()]
        end = dial("redis.example", 1, time.monotonic() + 5)
    assert end.getpeername() == listener.getsockname()
    end.close()


def test_a_resolver_that_is_silent_costs_the_deadline(resolver):
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"redis\.example could not be looked up in time"):
        dial("redis.example", 6379, began + 0.2)
    assert time.monotonic() - began < 5


def test_a_name_that_leads_elsewhere_now_is_followed(listener, resolver):
    with socket.create_server(("127.0.0.1", 0)) as other:
        for target in (listener, other):
            resolver.answers = [target.getsockname()]
            end = dial("redis.example", 6379, time.monotonic() + 5)
            assert end.getpeername() == target.getsockname()
            end.close()


@pytest.mark.parametrize("name", ["a" * 70, "no-such-host.invalid"])
def test_a_name_that_is_none_is_said(name):
    with pytest.raises(socket.gaierror):
        dial(name, 6379, time.monotonic() + 20)
