"""What the unit tests share: a clock that stands still, applications in memory, a broker that only notes."""

import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import settings

from celeriac import Celery
from celeriac.engines.base import Lease, Receipt
from celeriac.messages import Body, Malformed, Message, Outgoing, encode_body
from celeriac.testing.clock import ManualClock

# The machine may be busy, and examples that were found are written down as tests.
settings.register_profile("unit", database=None, deadline=None, max_examples=100)
settings.load_profile("unit")


class RecordingBroker:
    """Notes what is published; fails as often as it is told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[Outgoing], Receipt]] = []
        self.errors: list[BaseException | None] = []
        self.gate: threading.Event | None = None
        self.entered = threading.Event()

    def publish(self, outgoing: Sequence[Outgoing], receipt: Receipt) -> None:
        self.calls.append((list(outgoing), receipt))
        self.entered.set()
        if self.gate is not None:
            assert self.gate.wait(30)
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error

    def publish_each(self, batches: Iterable[tuple[Sequence[Outgoing], Receipt]]) -> Iterator[None]:
        for outgoing, receipt in batches:
            self.publish(outgoing, receipt)
            yield

    @property
    def published(self) -> list[Outgoing]:
        return [item for outgoing, _ in self.calls for item in outgoing]

    def close(self) -> None:
        pass


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def make_app(clock: ManualClock) -> Iterator[Callable[..., Celery]]:
    apps: list[Celery] = []

    def make(main: str = "unit", **options: Any) -> Celery:
        app = Celery(main, **{"broker": ":memory:", "clock": clock, **options})
        apps.append(app)
        return app

    yield make
    for app in apps:
        app.close()


@pytest.fixture
def app(make_app: Callable[..., Celery]) -> Celery:
    return make_app()


@pytest.fixture
def recording_broker() -> RecordingBroker:
    return RecordingBroker()


@pytest.fixture
def recording_app(app: Celery, recording_broker: RecordingBroker) -> Celery:
    """An application whose broker only notes."""
    app.stores._broker = recording_broker  # type: ignore[assignment]
    return app


@pytest.fixture
def sent(recording_broker: RecordingBroker) -> Callable[[], Outgoing]:
    """The one message that was sent."""

    def sent() -> Outgoing:
        (outgoing,) = recording_broker.published
        return outgoing

    return sent


@pytest.fixture
def make_message() -> Callable[..., Message]:
    def make(
        task: str = "unit.job", args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None, **rest: Any
    ) -> Message:
        fields = {name: rest.pop(name) for name in ("priority", "content_type", "properties") if name in rest}
        body = rest.pop("body", None)
        if body is None:
            body = encode_body(Body(list(args), kwargs or {})).data
        headers = {"lang": "py", "task": task, "id": "id-1", **rest}
        return Message.from_headers(headers, body, **fields)

    return make


@pytest.fixture
def make_lease(make_message: Callable[..., Message]) -> Callable[..., Lease]:
    def make(
        message: Message | Malformed | None = None,
        *,
        token: int = 7,
        queue: str = "celery",
        deliveries: int = 1,
        begun: bool = False,
        **rest: Any,
    ) -> Lease:
        return Lease(token, queue, make_message(**rest) if message is None else message, deliveries, begun)

    return make


class Forked:
    """A forked child that has done its work, and stays if it was told to."""

    def __init__(self, work: Callable[[], object], stay: bool) -> None:
        read, write = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads at a fork
            self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                work()
                os.write(write, b"x")
                if stay:
                    signal.pause()
                status = 0
            finally:
                os._exit(status)
        self.running = True
        os.close(write)
        done = os.read(read, 1)
        os.close(read)
        assert done, "the child failed"

    def kill(self) -> None:
        """As `kill -9`."""
        if self.running:
            self.running = False
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


@pytest.fixture
def fork() -> Iterator[Callable[..., Forked]]:
    """Do something in a forked child: `fork(work)`; with `stay=True` the child is there until it is killed."""
    children: list[Forked] = []

    def fork(work: Callable[[], object], *, stay: bool = False) -> Forked:
        children.append(Forked(work, stay))
        return children[-1]

    yield fork
    for child in children:
        child.kill()
