"""Executing one message, as a worker's slot does."""

import functools

import pytest

from celeriac.execution.calls import DirectCaller
from celeriac.execution.executor import Executor


class Keeper:
    """Holds a lease, or has lost it."""

    def __init__(self):
        self.holds = True
        self.begun = []
        self.reports = []

    def begin(self, lease):
        self.begun.append(lease.token)
        return self.holds

    def report(self, commit):
        self.reports.append(commit)


@pytest.fixture
def keeper():
    return Keeper()


@pytest.fixture
def executor(recording_app, keeper):
    caller = DirectCaller()
    made = Executor(recording_app, "celery@unit", keeper)
    made.execute = functools.partial(made.execute, caller=caller)
    yield made
    caller.close()


@pytest.fixture
def run(recording_app, executor, make_lease):
    """Make a function a task, and execute one message for it."""

    def run(function, *args, options=None, **rest):
        task = recording_app.task(name="unit.job", **(options or {}))(function)
        return executor.execute(make_lease(task=task.name, args=args, **rest))

    return run
