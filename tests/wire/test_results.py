"""Result documents as a Celery 5.7 worker leaves them (record_golden.py), read and written by us."""

import json
import re
from pathlib import Path

import pytest

from celeriac import Celery
from celeriac.documents import Document
from celeriac.engines.base import Commit, Lease
from celeriac.exceptions import RemoteError
from celeriac.execution.calls import DirectCaller
from celeriac.execution.executor import Executor
from celeriac.messages import Body, Message, encode_body
from celeriac.testing.clock import ManualClock

CASES = {
    case["name"]: case
    for case in json.loads((Path(__file__).parent / "golden" / "results.json").read_text(encoding="ascii"))
}
KEPT = {name: case for name, case in CASES.items() if case["raw"] is not None}
CLOCK_S = 1_767_323_045.678901


def golden(name) -> Document:
    case = CASES[name]
    return Document.decode(case["key"].removeprefix("celery-task-meta-"), case["raw"].encode("ascii"))


def state_of(name) -> str:
    return "PROGRESS" if name == "custom state" else re.match("[A-Z]+", name)[0]


@pytest.mark.parametrize("name", KEPT)
def test_celerys_document_is_read(name):
    document, content = golden(name), json.loads(CASES[name]["raw"])
    assert document.status == state_of(name)
    assert document.date_done == content["date_done"]
    assert document.traceback == content["traceback"]
    assert document.children == (content["children"] or [])
    assert document.parent_id == content.get("parent_id")


@pytest.mark.parametrize("name", KEPT)
def test_what_is_read_is_written_byte_for_byte(name):
    assert golden(name).encode().decode("ascii") == CASES[name]["raw"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SUCCESS int", 5),
        ("SUCCESS none", None),
        ("SUCCESS text", "Zürich 🥬"),
        ("SUCCESS nested", {"list": [1, 2.5, None], "empty": {}}),
        ("STARTED", {"pid": 4321, "hostname": "celery@recorder"}),
        ("custom state", {"done": 3, "of": 10}),
    ],
)
def test_celerys_value_is_read(name, value):
    assert golden(name).value() == value


@pytest.mark.parametrize(
    ("name", "kind", "args"),
    [
        ("FAILURE builtin exception", "ValueError", ("no such file",)),
        ("FAILURE without arguments", "KeyError", ()),
        ("FAILURE wrong arguments", "TypeError", ("add() takes 2 positional arguments but 3 were given",)),
        ("FAILURE custom exception", "OutOfStock", ("SKU-1", 3)),
        ("FAILURE name not registered", "NotRegistered", ("tasks.absent",)),
        ("REVOKED expired", "TaskRevokedError", ("expired",)),
        ("RETRY", "ConnectionError", ("http://localhost/",)),
    ],
)
def test_celerys_exception_is_read(name, kind, args):
    error = golden(name).value()
    assert (type(error).__name__, error.args) == (kind, args)


def test_an_exception_of_a_module_that_is_not_loaded_is_a_remote_error():
    assert isinstance(golden("FAILURE custom exception").value(), RemoteError)


def test_celerys_traceback_is_the_cause():
    assert "ValueError: no such file" in str(golden("FAILURE builtin exception").value().__cause__)


# ── our own, beside Celery's ──


class _NoKeeper:
    def begin(self, lease: Lease) -> bool:
        return True

    def report(self, commit: Commit) -> None:
        raise AssertionError


def run(name, function, args=(), **headers) -> str:
    """What our worker stores for a task of the same name, id and time."""
    content = json.loads(CASES[name]["raw"])
    app = Celery("tasks", broker=":memory:", clock=ManualClock(CLOCK_S))
    task = app.task(name="tasks.any", typing=False)(function)
    headers = {"id": content["task_id"], "task": task.name, **headers}
    lease = Lease(1, "celery", Message.from_headers(headers, encode_body(Body(list(args), {})).data), 1)
    commit = Executor(app, "celery@recorder", _NoKeeper()).execute(lease, DirectCaller())
    return commit.record.body.decode("ascii")


def without_traceback(text):
    content = json.loads(text)
    assert content["traceback"]
    return json.dumps({**content, "traceback": ""})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SUCCESS int", 5),
        ("SUCCESS none", None),
        ("SUCCESS text", "Zürich 🥬"),
        ("SUCCESS nested", {"list": [1, 2.5, None], "empty": {}}),
    ],
)
def test_our_worker_stores_a_success_as_celery_does(name, value):
    assert run(name, lambda: value) == CASES[name]["raw"]


@pytest.mark.parametrize(
    ("name", "error"),
    [("FAILURE builtin exception", ValueError("no such file")), ("FAILURE without arguments", KeyError())],
)
def test_our_worker_stores_a_failure_as_celery_does_but_for_the_frames(name, error):
    def fail():
        raise error

    assert without_traceback(run(name, fail)) == without_traceback(CASES[name]["raw"])


def test_our_worker_stores_expired_as_celery_does_but_for_the_module():
    stored = run("REVOKED expired", print, expires="2026-01-02T03:04:05+00:00")
    assert stored.replace("celeriac.exceptions", "celery.exceptions") == CASES["REVOKED expired"]["raw"]
