"""Which signals are sent when, and what names of exceptions and states mean, where no other test shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from celeriac import Celery, Task, exceptions, signals, states
from celeriac.engines.base import Commit, Lease
from celeriac.exceptions import AlreadyRegistered, AlwaysEagerIgnored, DuplicateTaskNameWarning, InvalidTaskError
from celeriac.execution.calls import DirectCaller
from celeriac.execution.executor import Executor
from celeriac.messages import Malformed, Message
from celeriac.testing.clock import ManualClock

Sent = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def app(clock: ManualClock) -> Iterator[Celery]:
    with Celery("names", broker=":memory:", clock=clock) as app:
        yield app


class _Keeper:
    def begin(self, lease: Lease) -> bool:
        return True

    def report(self, commit: Commit) -> None: ...


@pytest.fixture
def work(app: Celery) -> Iterator[Callable[..., Commit]]:
    """Run a message as a worker does: the one that waits, or the one given."""
    caller = DirectCaller()

    def work(message: Message | Malformed | None = None) -> Commit:
        found = app.broker.peek("celery", 1)[0] if message is None else message
        return Executor(app, "celery@names", _Keeper()).execute(Lease(7, "celery", found, 1, False), caller=caller)

    yield work
    caller.close()


def _note(sent: Sent, _signal: str, /, **named: Any) -> None:
    sent.append((_signal, named))


@contextmanager
def _heard(*names: str) -> Iterator[Sent]:
    sent: Sent = []
    receivers = {}
    for name in names:
        receivers[name] = partial(_note, sent, name)
        getattr(signals, name).connect(receivers[name], weak=False)
    yield sent
    for name, receiver in receivers.items():
        getattr(signals, name).disconnect(receiver)


def test_a_publish_is_announced_before_and_after(app: Celery) -> None:
    job = app.task(name="names.job")(lambda: None)
    with _heard("before_task_publish", "after_task_publish", "task_sent") as sent:
        job.delay()
    assert [(name, named["sender"]) for name, named in sent] == [
        (name, "names.job") for name in ("before_task_publish", "after_task_publish", "task_sent")
    ]
    assert {named["routing_key"] for _, named in sent[:2]} == {"celery"}


def test_a_run_is_announced_from_its_receipt_to_its_end(app: Celery, work: Callable[..., Commit]) -> None:
    job = app.task(name="names.job")(lambda x: 10 // x)
    names = ("task_received", "task_prerun", "task_postrun", "task_success", "task_failure")
    with _heard(*names) as sent:
        job.delay(5)
        work()
        app.broker.purge("celery")
        job.delay(0)
        work()
    assert sorted(name for name, _ in sent[:4]) == sorted(names[:4])
    assert sorted(name for name, _ in sent[4:]) == sorted({*names} - {"task_success"})
    values = dict(sent[:4])
    assert values["task_success"]["result"] == values["task_postrun"]["retval"] == 2
    failure = next(named for name, named in sent if name == "task_failure")
    assert isinstance(failure["exception"], ZeroDivisionError)


def test_a_retry_is_announced_and_waits_the_tasks_default_delay(
    app: Celery, work: Callable[..., Commit], clock: ManualClock
) -> None:
    @app.task(bind=True, default_retry_delay=77)
    def job(self: Task) -> None:
        raise self.retry(exc=ValueError("again"))

    with _heard("task_retry") as sent:
        job.delay()
        commit = work()
    assert "again" in str(sent[0][1]["reason"])
    assert commit.messages[0].due == clock.time() + 77


def test_what_is_not_run_is_announced(app: Celery, work: Callable[..., Commit], clock: ManualClock) -> None:
    job = app.task(name="names.job")(lambda: None)
    with _heard("task_revoked", "task_unknown", "task_rejected") as sent:
        job.apply_async(expires=5)
        clock.advance(6)
        work()
        app.broker.purge("celery")
        app.send_task("names.unknown")
        work()
        work(Malformed(b"", "not a message"))
    assert [name for name, _ in sent] == ["task_revoked", "task_unknown", "task_rejected"]
    assert sent[0][1]["expired"]
    assert sent[1][1]["name"] == "names.unknown"


def test_every_signal_of_celery_can_be_connected_to() -> None:
    for name in signals.__all__:
        if name != "Signal":
            with _heard(name) as sent:
                getattr(signals, name).send(sender=None)
            assert [heard for heard, _ in sent] == [name]


def test_names_of_exceptions_that_stand_for_others() -> None:
    assert exceptions.CeleryWarning is exceptions.CeleriacWarning
    assert exceptions.RetryTaskError is exceptions.Retry
    assert issubclass(DuplicateTaskNameWarning, exceptions.CeleriacWarning)


def test_what_is_wrong_with_tasks_has_an_exception_of_its_own(app: Celery) -> None:
    with pytest.raises(InvalidTaskError):
        app.signature(None)
    app.task(name="names.job")(lambda: None)
    with pytest.warns(DuplicateTaskNameWarning):
        app.task(name="names.job")(test_names_of_exceptions_that_stand_for_others)
    nameless = Task()
    with pytest.raises(AlreadyRegistered):
        app.tasks.register(nameless)
    app.conf.task_always_eager = True
    with pytest.warns(AlwaysEagerIgnored):
        app.send_task("names.job")


def test_the_states_are_told_apart() -> None:
    assert states.ALL_STATES > states.READY_STATES
    assert {states.PENDING, states.RECEIVED, states.STARTED, states.RETRY} <= states.ALL_STATES
    assert states.IGNORED not in states.ALL_STATES
    assert states.REJECTED in states.UNREADY_STATES
