import pytest

from celeriac.exceptions import Ignore, Reject, Retry
from celeriac.request import Context
from celeriac.runs import Run
from celeriac.task.retrying import autoretry_options, retries_by_itself


def run_of(task, retries):
    return Run(task, Context(retries=retries), None)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ConnectionResetError(), True),
        (OSError(), True),
        (FileNotFoundError(), False),
        (KeyError(), False),
        (Retry(), False),
        (Ignore(), False),
        (Reject(), False),
    ],
)
def test_a_task_is_retried_at_the_exceptions_it_names(app, error, again):
    task = app.task(autoretry_for=(OSError, Ignore), dont_autoretry_for=(FileNotFoundError,), name="unit.job")(print)
    assert retries_by_itself(task, error) is again


def test_a_retry_of_ones_own_is_no_error_to_be_retried(app):
    task = app.task(autoretry_for=(Exception,), name="unit.job")(print)
    assert not retries_by_itself(task, Retry())


def test_without_autoretry_none_is(app):
    assert not retries_by_itself(app.task(name="unit.job")(print), OSError())


def test_the_tasks_retry_kwargs_are_passed_on(app):
    task = app.task(autoretry_for=(OSError,), retry_kwargs={"max_retries": 7}, name="unit.job")(print)
    assert autoretry_options(task, run_of(task, 0)) == {"max_retries": 7}


@pytest.mark.parametrize(
    ("backoff", "retries", "delay_s"), [(True, 0, 1), (True, 3, 8), (5, 2, 20), (5, 20, 600), (0.5, 1, 2)]
)
def test_backoff_doubles_the_delay_up_to_the_most(app, backoff, retries, delay_s):
    task = app.task(autoretry_for=(OSError,), retry_backoff=backoff, retry_jitter=False, name="unit.job")(print)
    assert autoretry_options(task, run_of(task, retries)) == {"countdown": delay_s}


def test_jitter_stays_below_the_delay(app):
    task = app.task(autoretry_for=(OSError,), retry_backoff=5, name="unit.job")(print)
    assert all(0 <= autoretry_options(task, run_of(task, 2))["countdown"] <= 20 for _ in range(50))
