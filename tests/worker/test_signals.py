"""Signals of tasks in a real worker: their order, and what they bring."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.behaviour import PLACES, Behaviour, behaviour
from support.waiting import until

TASKS = """
def hear(name, describe):
    @getattr(signals, name).connect(weak=False)
    def receive(signal, sender, **facts):
        word = facts.get("task_id") or getattr(facts.get("request"), "id", None) or facts.get("id")
        note(word or sender.request.id, name, describe(sender, facts))


hear("task_received", lambda sender, facts: sorted(facts))
hear("task_prerun", lambda sender, facts: (sender.name, sorted(facts), facts["args"], facts["kwargs"]))
hear("task_success", lambda sender, facts: (sender.name, facts["result"], facts["runtime"] >= 0))
hear("task_failure", lambda sender, facts: (sender.name, sorted(facts), repr(facts["einfo"].exception)))
hear("task_retry", lambda sender, facts: (sender.name, sorted(facts), str(facts["reason"])))
hear("task_postrun", lambda sender, facts: (sender.name, sorted(facts), facts["state"], repr(facts["retval"])))
hear("task_revoked", lambda sender, facts: (facts["expired"], facts["terminated"], facts["signum"]))
hear("task_unknown", lambda sender, facts: (facts["name"], repr(facts["exc"])))
hear("task_internal_error", lambda sender, facts: (sender.name, sorted(facts), repr(facts["exception"])))


@signals.task_success.connect
def broken(**facts):
    raise RuntimeError("a receiver")


class Careless(Task):
    def on_failure(self, *facts):
        raise RuntimeError("a handler")


@app.task
def work(x, y=2):
    return x + y


@app.task(base=Careless)
def fail():
    raise LookupError("why")


@app.task(bind=True)
def flaky(self):
    if not self.request.retries:
        raise self.retry(exc=LookupError("again"), countdown=0)
"""

_PRERUN = "['args', 'kwargs', 'task', 'task_id']"
_POSTRUN = "['args', 'kwargs', 'retval', 'state', 'task', 'task_id']"


@pytest.fixture(scope="module", params=PLACES)
def at_work(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behaviour]:
    with behaviour(request.param, TASKS, tmp_path_factory.mktemp("signals")) as at_work:
        yield at_work


def heard(at_work: Behaviour, task_id: str, call: str) -> list[str]:
    at_work.ask(f"""
        from tasks import *
        {call}.apply_async(task_id={task_id!r}).get(timeout=30, propagate=False)
    """)
    return at_work.notes(task_id)


def test_signals_of_a_success(at_work: Behaviour) -> None:
    assert heard(at_work, "success", "work.s(1, y=4)") == [
        "task_received ['request']",
        f"task_prerun ('tasks.work', {_PRERUN}, [1], {{'y': 4}})",
        "task_success ('tasks.work', 5, True)",
        f"task_postrun ('tasks.work', {_POSTRUN}, 'SUCCESS', '5')",
    ]


def test_signals_of_a_failure_and_of_a_handler_that_raises(at_work: Behaviour) -> None:
    internal = "['args', 'einfo', 'exception', 'kwargs', 'request', 'task_id', 'traceback']"
    failure = "['args', 'einfo', 'exception', 'kwargs', 'task_id', 'traceback']"
    assert heard(at_work, "failure", "fail.s()") == [
        "task_received ['request']",
        f"task_prerun ('tasks.fail', {_PRERUN}, [], {{}})",
        f"""task_internal_error ('tasks.fail', {internal}, "RuntimeError('a handler')")""",
        f"""task_failure ('tasks.fail', {failure}, "LookupError('why')")""",
        f"""task_postrun ('tasks.fail', {_POSTRUN}, 'FAILURE', "LookupError('why')")""",
    ]


def test_signals_of_a_retry(at_work: Behaviour) -> None:
    notes = heard(at_work, "retry", "flaky.s()")
    assert [note.split()[0] for note in notes] == [
        *("task_received", "task_prerun", "task_retry", "task_postrun"),
        *("task_received", "task_prerun", "task_success", "task_postrun"),
    ]
    reason = "Retry in 0s: LookupError('again')"
    assert notes[2] == f"""task_retry ('tasks.flaky', ['einfo', 'reason', 'request'], "{reason}")"""


def test_signals_of_a_task_that_has_expired(at_work: Behaviour) -> None:
    assert heard(at_work, "expired", "work.s(1).set(expires=-1)") == ["task_revoked (True, False, None)"]


def test_the_signal_of_a_task_that_nobody_knows(at_work: Behaviour) -> None:
    at_work.ask("""
        from tasks import app
        app.send_task("elsewhere.job", task_id="unknown")
    """)
    notes = until(lambda: at_work.notes("unknown"), "the signal is sent")
    assert notes[0] == """task_unknown ('elsewhere.job', "NotRegistered('elsewhere.job')")"""
