"""Bytes that are no task, straight on the list: the worker lives, good tasks are done, every bad one is kept as it was."""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac import Celery
from celeriac.engines.redis import RedisBroker
from support.project import Project
from support.redis_server import RedisServer
from support.waiting import until

_TASKS = """
import os
from celeriac import Celery

app = Celery("tasks", broker=os.environ["BROKER"])

@app.task
def echo(value):
    return value
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    folder: Path = tmp_path_factory.mktemp("redis")
    with RedisServer(folder, "--requirepass", "sesame") as server:
        yield server


def _envelope(body: bytes = b'[["x"], {}, {}]', properties: Any = None, **changes: Any) -> bytes:
    headers = {"lang": "py", "task": "tasks.echo", "id": "bad", "retries": 0, **changes.pop("headers", {})}
    content = {
        "body": base64.b64encode(body).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": headers,
        "properties": {"body_encoding": "base64", "priority": 0, "delivery_tag": "t"}
        if properties is None
        else properties,
        **changes,
    }
    return json.dumps(content).encode()


_BAD = {
    "no JSON": b"\x00\xff garbage",
    "empty": b"",
    "a number": b"17",
    "no headers": b'{"body": "", "properties": {}}',
    "headers are a list": _envelope().replace(b'"headers": {', b'"headers": [], "x": {'),
    "id is a number": _envelope(headers={"id": 5}),
    "task is null": _envelope(headers={"task": None}),
    "retries is text": _envelope(headers={"retries": "often"}),
    "eta is no time": _envelope(headers={"eta": "tomorrow"}),
    "expires is a list": _envelope(headers={"expires": []}),
    "priority is text": _envelope(properties={"body_encoding": "base64", "priority": "high"}),
    "body is not base64": _envelope().replace(b'"body": "', b'"body": "!!'),
    "body is no list": _envelope(b'{"a": 1}'),
    "body is half": _envelope(b'[["x"], {'),
    "unknown compression": _envelope(headers={"compression": "application/x-rot13"}),
    "unknown tagged type": _envelope(b'[[{"__type__": "os.system", "__value__": "true"}], {}, {}]'),
    "content not accepted": _envelope(**{"content-type": "application/x-yaml"}),
    "pickle": _envelope(pickle.dumps([["x"], {}, {}]), **{"content-type": "application/x-python-serialize"}),
    "100,000 brackets": b"[" * 100_000,
    "a body of 100,000 brackets": _envelope(b"[" * 100_000 + b"]" * 100_000),
    "50 MB": b'{"body": "' + b"x" * 50_000_000,
}


def test_every_bad_message_is_kept_and_every_good_one_done(project: Project, server: RedisServer) -> None:
    url = f"redis://:sesame@127.0.0.1:{server.port}/0"
    project.write("tasks", _TASKS)
    app = Celery("tasks", broker=url)
    echo = app.task(name="tasks.echo", typing=False)(print)
    broker = app.broker
    assert isinstance(broker, RedisBroker)
    good = []
    for number, raw in enumerate(_BAD.values()):
        broker.client.call("LPUSH", "celery", raw)
        good.append(echo.delay(number))
    with project.worker("-c", 2, BROKER=url) as worker:
        assert [result.get(timeout=60) for result in good] == list(range(len(_BAD)))
        assert echo.delay("last").get(timeout=60) == "last"
        until(lambda: len(broker.dead(limit=1000)) == len(_BAD), "every bad message is buried")
        assert len(worker.children()) == 2
        assert worker.stop() == 0
        assert "sesame" not in worker.log
        assert "set appendonly yes" in worker.log
        assert " ended with " not in worker.log
    letters = {letter.raw: letter.reason for letter in broker.dead(limit=1000)}
    assert {kind: raw in letters for kind, raw in _BAD.items()} == dict.fromkeys(_BAD, True)
    assert all(letters.values())
    assert broker.client.call("LLEN", "celery") == 0
    app.close()
