"""One suite, every engine: tests ask for `broker`, `results` and what else an engine can give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from celeriac.engines.base import Broker, ResultStore
from conformance.engines import ENGINES, Cluster, Engine, Other
from conformance.making import Producer, node


@pytest.fixture(params=list(ENGINES))
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A store of each engine."""
    engine: Engine = ENGINES[request.param](tmp_path)
    yield engine
    engine.close()


@pytest.fixture(scope="session", autouse=True)
def _shared_servers() -> Iterator[None]:
    """Servers that many tests share end with the last."""
    yield
    Cluster.end()


@pytest.fixture
def connect(engine: Engine) -> Callable[[], Broker]:
    """One more broker on the same store."""
    return engine.connect


@pytest.fixture
def broker(engine: Engine) -> Broker:
    """The broker under test."""
    return engine.connect()


@pytest.fixture
def results(broker: Broker) -> ResultStore:
    """The result store in the same place."""
    return broker.result_store()


@pytest.fixture
def producer(broker: Broker) -> Producer:
    """Publishes through the broker under test."""
    return Producer(broker)


@pytest.fixture
def served(broker: Broker) -> None:
    """A worker serves the queues. Without one, a message for later may be ready at once: for a Celery worker, who waits."""
    broker.register(node("node-serving", queues=("q", "first", "two", "z")))


@pytest.fixture
def other(engine: Engine) -> Other:
    """Someone else at the same store, another process where the engine can."""
    return engine.other()
