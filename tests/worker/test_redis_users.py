"""The users of docs/redis.md, as they stand there: each can do its part and nothing else."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from celeriac import Celery
from celeriac.engines.redis import RedisBroker
from celeriac.exceptions import BrokerError
from docs.blocks import projects
from support.gate import Gate
from support.processes import needs_proc
from support.project import Project
from support.redis_server import RedisServer, words_of

pytestmark = [needs_proc, pytest.mark.timeout(120)]

_PAGE = Path(__file__).parents[2] / "docs" / "redis.md"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """`url("worker")` leads to a server with these users, as that one."""
    (text,) = (block.text for blocks in projects(_PAGE) for block in blocks if block.detail == "users.acl")
    file = tmp_path / "users.acl"
    file.write_text(text)
    secrets = {words[1]: words[3][1:] for words in map(str.split, text.splitlines()) if len(words) > 3}
    with RedisServer(tmp_path / "redis", "--aclfile", str(file), "--appendonly", "yes") as server:
        assert set(secrets) == {"producer", "worker", "reader"}, words_of(server.port, "PING")
        yield lambda user: f"redis://{user}:{secrets[user]}@127.0.0.1:{server.port}/0"


def test_each_user_can_do_its_part(project: Project, url: Callable[[str], str], gate: Gate) -> None:
    project.with_common_tasks(broker_url=url("worker"), max_deliveries=3)
    with project.worker("-c", 2) as worker:
        with Celery("client", broker=url("producer"), backend=url("reader")) as app:
            add = app.task(name="tasks.add", typing=False)(lambda x, y: None)
            flaky = app.task(name="tasks.flaky", typing=False)(lambda failures, countdown: None)
            fail = app.task(name="tasks.fail", typing=False)(lambda text: None)
            hold = app.task(name="tasks.hold", typing=False)(lambda port: None)
            worker.wait_until_ready()
            assert [one.get(timeout=30) for one in add.delay_many((n, 1) for n in range(100))] == list(range(1, 101))
            assert add.apply_async((1, 2), countdown=0.2, priority=9).get(timeout=30) == 3
            assert flaky.delay(1, 0.1).get(timeout=30) == 1
            with pytest.raises(Exception, match="out of ink"):
                fail.delay("out of ink").get(timeout=30)
            held = hold.delay(gate.port)
            os.kill(gate.arrival().pid, signal.SIGKILL)
            gate.arrival().open()
            held.get(timeout=30)
            held.forget()
        assert worker.stop() == 0
    assert "NOPERM" not in worker.log
    for command in ("status", "dead list", "purge -f"):
        done = project.celeriac("-A", "tasks", *command.split())
        assert done.returncode == 0, done.stdout + done.stderr


def test_no_user_can_do_the_others_parts(url: Callable[[str], str]) -> None:
    cannot = {
        "producer": [("GET", "celery-task-meta-x"), ("HGETALL", "celeriac:nodes"), ("GET", "celeriac:token")],
        "worker": [("GET", "orders"), ("SET", "orders", "1"), ("PUBLISH", "orders", "1")],
        "reader": [("LPUSH", "celery", "x"), ("SET", "celery-task-meta-x", "1"), ("EVAL", "return 1", "0")],
    }
    everyone = [("FLUSHALL",), ("KEYS", "*"), ("CONFIG", "GET", "*"), ("ACL", "LIST"), ("SHUTDOWN",)]
    for user, commands in cannot.items():
        with Celery("client", broker=url(user)) as app:
            broker = app.broker
            assert isinstance(broker, RedisBroker)
            for command in commands + everyone:
                with pytest.raises(BrokerError, match="NOPERM"):
                    broker.client.call(*command)


def test_who_may_not_read_results_is_told_so_at_once(url: Callable[[str], str]) -> None:
    with Celery("client", broker=url("producer")) as app, pytest.raises(BrokerError, match=r"NOPERM.*permissions"):
        app.AsyncResult("x").get(timeout=10)


def test_who_may_not_revoke_is_told_what_to_look_at(url: Callable[[str], str]) -> None:
    with Celery("client", broker=url("producer")) as app, pytest.raises(BrokerError, match="user's permissions"):
        app.control.revoke("x")
