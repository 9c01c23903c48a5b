"""A private server for each module, emptied for each test, and a server that only says what it is told to say."""

import itertools
import socket
import threading
from collections.abc import Callable, Iterator

import hiredis
import pytest

from celeriac.engines.base import EngineOptions, Node, Receipt
from celeriac.engines.redis import RedisBroker, open_broker
from celeriac.messages import Message, Outgoing
from support.redis_server import RedisServer


@pytest.fixture(scope="module")
def module_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def server(module_server: RedisServer) -> Iterator[RedisServer]:
    """The module's server, empty; running again when the test is over."""
    module_server.call("FLUSHALL")
    yield module_server
    if module_server.call("PING") != b"+PONG":
        module_server.stop()
        module_server.start()


@pytest.fixture
def connect(server: RedisServer) -> Iterator[Callable[..., RedisBroker]]:
    """A broker at the server, or at another URL; options by name."""
    brokers: list[RedisBroker] = []

    def connect(url: str | None = None, *, timeout_s: float = 10.0, **options: object) -> RedisBroker:
        brokers.append(open_broker(url or server.url(), EngineOptions("/nowhere", timeout_s, options)))
        return brokers[-1]

    yield connect
    for broker in brokers:
        broker.close()


@pytest.fixture
def broker(connect: Callable[..., RedisBroker]) -> RedisBroker:
    """A broker whose node `me` is registered for queue q."""
    broker = connect()
    broker.register(Node("me", "celery@me", "here", 1, "solo", 1, ("q",), 600.0))
    return broker


@pytest.fixture
def send() -> Callable[..., None]:
    """Publish messages of these ids to queue q."""
    numbers = itertools.count(1)

    def send(broker: RedisBroker, *names: str, queue: str = "q", due: float | None = None) -> None:
        messages = [Message.from_headers({"id": name, "task": "t"}, b"[[],{},{}]") for name in names]
        broker.publish([Outgoing(message, queue, due) for message in messages], Receipt("test", next(numbers)))

    return send


class Puppet:
    """Listens on a port and answers each command with what `answer` returns for its words; None is silence."""

    def __init__(self, answer: Callable[..., bytes | None]) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        reader = hiredis.Reader()
        try:
            while data := connection.recv(65536):
                reader.feed(data)
                while (words := reader.gets()) is not False:
                    answer = self._answer(*words)
                    if answer is not None:
                        connection.sendall(answer)
        except (OSError, hiredis.ProtocolError):
            pass

    def close(self) -> None:
        for end in (self._listener, *self._connections):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()
        for thread in self._threads:
            thread.join(10)


@pytest.fixture
def puppet() -> Iterator[Callable[..., Puppet]]:
    """`puppet(answer)`: see `Puppet`."""
    puppets: list[Puppet] = []

    def start(answer: Callable[..., bytes | None]) -> Puppet:
        puppets.append(Puppet(answer))
        return puppets[-1]

    yield start
    for one in puppets:
        one.close()
