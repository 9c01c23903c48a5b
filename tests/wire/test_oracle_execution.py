"""The same tasks run by the released Celery 5.7 and by celeriac: handlers, signals, requests and documents are the same.

Each side runs execution/drive.py, which sends the scenarios to a worker of its own side on Redis, or runs them eagerly.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support.processes import needs_proc
from support.redis_server import RedisServer
from support.worker import WorkerProcess
from wire.execution.scenarios import ALWAYS_EAGER, EAGER, SCENARIOS
from wire.fleet.sides import CELERIAC, CELERY, CELERY_PYTHON, need_peers

pytestmark = [pytest.mark.timeout(300), needs_proc]

_HERE = Path(__file__).parent / "execution"
_PYTHON = {CELERY: str(CELERY_PYTHON), CELERIAC: sys.executable}

#: Where we mean to differ, and why. What we do is in tests/unit/execution and tests/worker.
OURS = {
    "on_failure raises": "the failure stands; Celery replaces it by an AttributeError of its own",
    "on_retry raises": "the retry stands; Celery stores a failure and retries all the same",
    "retried without exc": "the exception that is being handled is the reason; Celery has none",
    "retry not thrown": "who asks gets the outcome of the later run in any order; Celery's is overwritten or not by chance",
}
OURS_EAGER = {
    "failure thrown": "handlers and signals are called first; Celery calls none but task_internal_error",
    "before_start raises": "as above",
    "retried thrown": "as above",
    "ignored": "no traceback of what is no failure",
    "rejected": "as above",
    "replaced": "works; in Celery it ends in a RuntimeError",
    "replaced with a link": "as above",
    "children": "are known, as in a worker; Celery has none",
}


class Side:
    """One of the two, on a database of its own."""

    def __init__(self, side: str, redis: RedisServer, folder: Path) -> None:
        self._side = side
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "EXECUTION_SIDE": side,
            "EXECUTION_STORE": redis.url([CELERY, CELERIAC].index(side)),
        }
        self._folder = folder

    def run_eagerly(self, mode: str) -> dict[str, Any]:
        return self._drive(mode, f"audit-{self._side}-{mode}")

    def run_in_a_worker(self) -> dict[str, Any]:
        program = _PYTHON[self._side]
        options = ["-c", "1", "-l", "info", "-Q", "celery,other", "-n", "worker@oracle"]
        if self._side == CELERY:
            options += ["--without-gossip", "--without-mingle"]
        command = [program, "-m", self._side, "-A", "execution_tasks", "worker", *options]
        audit = f"audit-{self._side}"
        with WorkerProcess(command, _HERE, self._with(audit)) as worker:
            worker.wait_until_ready()
            return self._drive("worker", audit)

    def run_all(self) -> dict[str, dict[str, Any]]:
        return {
            "worker": self.run_in_a_worker(),
            "apply": self.run_eagerly("apply"),
            "eager": self.run_eagerly("eager"),
        }

    def _with(self, audit: str) -> dict[str, str]:
        return {**self._environment, "EXECUTION_AUDIT": str(self._folder / audit)}

    def _drive(self, mode: str, audit: str) -> dict[str, Any]:
        done = subprocess.run(
            [_PYTHON[self._side], "drive.py", mode],
            cwd=_HERE,
            env=self._with(audit),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answers: dict[str, Any] = json.loads(done.stdout)
        return answers


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """Side -> mode -> scenario -> what came of it."""
    need_peers()
    folder = tmp_path_factory.mktemp("oracle")
    with RedisServer(tmp_path_factory.mktemp("redis")) as redis, ThreadPoolExecutor(2) as threads:
        sides = {side: threads.submit(Side(side, redis, folder).run_all) for side in (CELERY, CELERIAC)}
        yield {side: running.result() for side, running in sides.items()}


# ── what is told by both in the same words ───────────────────────────────────────────────────────────────────────────

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WORDS = [
    (_UUID, "<id>"),
    (re.compile(r"\b(celery|celeriac|kombu)\.exceptions\."), ""),
    (re.compile(r"""['"]?MaxRetriesExceededError: .*"""), "MaxRetriesExceededError"),
    (re.compile(r"EncodeError: .*"), "EncodeError"),
    (re.compile(r"Reject: .*"), "Reject"),
    (re.compile(r"Ignore: .*"), "Ignore"),
]
#: Facts of a request that are Celery's producer's or the moment's.
_NULL = ([None, None], {}, [])


def plain(value: Any) -> Any:
    if isinstance(value, str):
        for pattern, word in _WORDS:
            value = pattern.sub(word, value)
        return value
    if isinstance(value, list):
        if len(value) == 3 and value[:2] == ["einfo", "Retry"]:
            return value[:2]  # our text tells the reason
        return [plain(one) for one in value]
    if isinstance(value, dict):
        if "called_directly" in value:
            return request_facts(value)
        return {name: plain(one) for name, one in value.items()}
    return value


def request_facts(facts: dict[str, Any]) -> dict[str, Any]:
    facts = {name: None if value in _NULL else plain(value) for name, value in facts.items()}
    if facts["reply_to"] == "<id>":
        facts["reply_to"] = None
    if facts["retries"] and facts["parent_id"] == facts["id"]:
        facts["parent_id"] = None  # a retried task becomes its own parent in Celery
    if facts["is_eager"]:
        # A worker's request has these, and so has ours; Celery's eager one has not.
        for name in ("correlation_id", "origin", "tenant", "loglevel", "delivery_info"):
            del facts[name]
    return facts


def events_of(answer: dict[str, Any]) -> list[Any]:
    events = []
    for event, *facts in answer["events"]:
        if event.endswith("on_retry") and (facts[0] is None or str(facts[0]).startswith("Retry: ")):
            facts[0] = None  # ours has the Retry itself, so that handlers always have an exception
        events.append([event, *map(plain, facts)])
    return events


def document_of(answer: dict[str, Any]) -> str | None:
    text: str | None = answer["document"]
    if text is None:
        return None
    document = json.loads(text)
    if document.get("retries") and document.get("parent_id") == document["task_id"]:
        text = text.replace(f'"parent_id": "{document["task_id"]}", ', "")
    text = re.sub(r'"date_done": "[^"]+"', '"date_done": ""', text)
    text = re.sub(r'"traceback": "(?:[^"\\]|\\.)+"', '"traceback": ""', text)
    text = re.sub(r'"result": \{"id".*"same request": true\}', '"result": "facts"', text)
    text = re.sub(r"\[\[\"<id>\", null\], \[(.*)\]\](?=\])", r"\1", _UUID.sub("<id>", text))  # a group of callbacks
    text = re.sub(r'"exc_type": "EncodeError", "exc_message": \[.*?\],', '"exc_type": "EncodeError",', text)
    return re.sub(r'("exc_type": "MaxRetriesExceededError"), "exc_message": \[.*?\],', r"\1,", text)


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name not in OURS])
def test_a_worker_calls_and_announces_the_same(told: dict[str, dict[str, Any]], scenario: str) -> None:
    celery, ours = (events_of(told[side]["worker"][scenario]) for side in (CELERY, CELERIAC))
    assert ours == celery


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name not in OURS])
def test_a_worker_stores_the_same_bytes_but_for_time_and_frames(told: dict[str, dict[str, Any]], scenario: str) -> None:
    celery, ours = (document_of(told[side]["worker"][scenario]) for side in (CELERY, CELERIAC))
    assert ours == celery


@pytest.mark.parametrize("scenario", ["request", "plain request", "linked request", "retried as sent", "replaced"])
def test_a_task_sees_the_same_request(told: dict[str, dict[str, Any]], scenario: str) -> None:
    celery, ours = (
        request_facts(json.loads(told[side]["worker"][scenario]["document"])["result"]) for side in (CELERY, CELERIAC)
    )
    assert ours == celery


@pytest.mark.parametrize("scenario", [name for name in EAGER if name not in OURS_EAGER])
def test_apply_does_the_same(told: dict[str, dict[str, Any]], scenario: str) -> None:
    celery, ours = (told[side]["apply"][scenario] for side in (CELERY, CELERIAC))
    assert plain(ours["answer"]) == plain(celery["answer"])
    assert events_of(ours) == events_of(celery)


@pytest.mark.parametrize("scenario", [name for name in ALWAYS_EAGER if name not in OURS_EAGER])
def test_always_eager_does_the_same(told: dict[str, dict[str, Any]], scenario: str) -> None:
    celery, ours = (told[side]["eager"][scenario] for side in (CELERY, CELERIAC))
    assert plain(ours["answer"]) == plain(celery["answer"])
    assert events_of(ours) == events_of(celery)


@pytest.mark.parametrize("scenario", ["failure thrown", "retried thrown"])
def test_a_thrown_outcome_is_the_same(told: dict[str, dict[str, Any]], scenario: str) -> None:
    celery, ours = (told[side]["apply"][scenario] for side in (CELERY, CELERIAC))
    assert plain(ours["answer"]) == plain(celery["answer"])
    assert ours["answer"].startswith("raised ")
