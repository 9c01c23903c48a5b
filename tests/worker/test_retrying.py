"""Retries in a real worker: how many there are, when they stop, and what the next run is called with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.behaviour import PLACES, Behaviour, behaviour

TASKS = """
class OutOfPaper(Exception):
    pass


class Broken(OutOfPaper):
    pass


def tried(self):
    note(self.request.id, self.request.retries)
    return self.request.retries


@app.task(bind=True, max_retries=2, default_retry_delay=0)
def limited(self, **options):
    tried(self)
    raise self.retry(exc=OutOfPaper("tray"), **options)


@app.task(bind=True, max_retries=1, default_retry_delay=0)
def without_reason(self, x):
    tried(self)
    raise self.retry()


@app.task(bind=True, max_retries=None, default_retry_delay=0)
def patient(self):
    if tried(self) < 6:
        raise self.retry()
    return "printed"


@app.task(bind=True, autoretry_for=(OutOfPaper,), dont_autoretry_for=(Broken,), default_retry_delay=0, max_retries=2)
def by_itself(self, kind):
    tried(self)
    raise {"paper": OutOfPaper, "broken": Broken, "other": LookupError}[kind](kind)


@app.task(bind=True, autoretry_for=(OutOfPaper,), retry_kwargs={"max_retries": 1, "countdown": 0})
async def by_itself_async(self):
    tried(self)
    raise OutOfPaper("async")


@app.task(bind=True, autoretry_for=(OutOfPaper,), retry_backoff=0.01, retry_backoff_max=0, retry_jitter=False)
def backing_off(self):
    tried(self)
    raise OutOfPaper("backoff")


@app.task(bind=True)
def elsewhere(self, x, y=2):
    if not self.request.retries:
        raise self.retry(kwargs={"y": 3}, queue="other", priority=4, time_limit=50, countdown=0)
    info = self.request.delivery_info
    return [x, y, info["routing_key"], info["priority"], self.request.timelimit]
"""


@pytest.fixture(scope="module", params=PLACES)
def at_work(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behaviour]:
    with behaviour(request.param, TASKS, tmp_path_factory.mktemp("retrying"), "other") as at_work:
        yield at_work


def run(at_work: Behaviour, task_id: str, call: str) -> tuple[str, list[str]]:
    """How it ended, and which tries there were."""
    (answer,) = at_work.ask(f"""
        from tasks import *
        print(repr({call}.apply_async(task_id={task_id!r}).get(timeout=30, propagate=False)))
    """)
    return answer, at_work.notes(task_id)


@pytest.mark.parametrize(("task_id", "call", "answer", "tries"), [
    ("limit of the task", "limited.s()", "OutOfPaper('tray')", 3),
    ("limit of the call", "limited.s(max_retries=1)", "OutOfPaper('tray')", 2),
    ("no limit", "patient.s()", "'printed'", 7),
    ("by itself", "by_itself.s('paper')", "OutOfPaper('paper')", 3),
    ("excepted", "by_itself.s('broken')", "Broken('broken')", 1),
    ("another", "by_itself.s('other')", "LookupError('other')", 1),
    ("async", "by_itself_async.s()", "OutOfPaper('async')", 2),
    ("backing off", "backing_off.s()", "OutOfPaper('backoff')", 4),
])  # fmt: skip
def test_retries_end_where_they_should(at_work: Behaviour, task_id: str, call: str, answer: str, tries: int) -> None:
    task_id = task_id.replace(" ", "-")
    found, notes = run(at_work, task_id, call)
    assert (found, notes) == (answer, [str(number) for number in range(tries)])


def test_who_retried_too_often_without_a_reason_is_told_so(at_work: Behaviour) -> None:
    answer, notes = run(at_work, "without-reason", "without_reason.s(1)")
    assert answer.startswith("MaxRetriesExceededError(")
    assert notes == ["0", "1"]


def test_the_next_run_has_the_arguments_and_options_of_the_retry(at_work: Behaviour) -> None:
    assert run(at_work, "elsewhere", "elsewhere.s(1)")[0] == "[1, 3, 'other', 4, [50, None]]"
