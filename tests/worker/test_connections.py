"""How many connections a worker has: docs/redis.md, Connections."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from celeriac import Celery
from celeriac.engines.redis.connection import Connection
from celeriac.engines.redis.urls import parse
from support.project import Project
from support.redis_server import RedisServer
from support.waiting import until

_CHILDREN = 2
_AT_REST = 3 + 2 * _CHILDREN

_TASKS = """
from celeriac import Celery

app = Celery("tasks", broker={url!r})

@app.task
def add(x, y):
    return x + y

@app.task(bind=True)
def call(self):
    self.update_state(state="CALLING")
    add.delay(1, 2)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as server:
        yield server


def connections(server: RedisServer) -> int:
    """How many there are in the first database, apart from the one that asks."""
    connection = Connection(parse(server.url(9), {}, 10.0))
    try:
        return len(re.findall(r" db=0 ", connection.call("CLIENT", "LIST").decode()))
    finally:
        connection.close()


def test_a_worker_has_a_few_connections_and_two_for_each_child(project: Project, server: RedisServer) -> None:
    project.write("tasks", _TASKS.format(url=server.url()))
    with project.worker("-c", _CHILDREN) as worker:
        worker.wait_until_ready()
        until(lambda: connections(server) >= 1 + 2 * _CHILDREN, "each child waits for work")
        assert connections(server) <= _AT_REST
        with Celery("client", broker=server.url(), set_as_current=False) as app:
            call = app.task(name="tasks.call", typing=False)(lambda: None)
            add = app.task(name="tasks.add", typing=False)(lambda x, y: None)
            for result in [*call.delay_many([()] * 200), *add.delay_many([(1, 1)] * 200)]:
                result.get(timeout=60)
        until(lambda: connections(server) <= _AT_REST + _CHILDREN, "the client's connections are closed")
