import builtins
import pickle
from datetime import UTC, datetime

import pytest

from celeriac import exceptions
from celeriac.exceptions import CeleriacError, Retry

ERRORS = [
    value
    for name in exceptions.__all__
    if issubclass(value := getattr(exceptions, name), CeleriacError) and value.__name__ == name
]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_is_caught_by_the_root(kind):
    assert issubclass(kind, CeleriacError)


@pytest.mark.parametrize(
    ("kind", "base"),
    [
        (exceptions.AppNotFound, exceptions.ConfigError),
        (exceptions.OperationalError, exceptions.BrokerError),
        (exceptions.EncodeError, TypeError),
        (exceptions.DecodeError, ValueError),
        (exceptions.NotRegistered, KeyError),
        (exceptions.TimeoutError, builtins.TimeoutError),
        (exceptions.MaxRetriesExceededError, exceptions.TaskError),
        (exceptions.WorkerLostError, exceptions.TaskError),
        (exceptions.TaskRevokedError, exceptions.TaskError),
        (exceptions.RemoteError, exceptions.TaskError),
        (exceptions.Retry, exceptions.TaskPredicate),
    ],
    ids=lambda kind: kind.__name__,
)
def test_an_error_is_also_what_it_resembles(kind, base):
    assert issubclass(kind, base)


def test_a_retry_is_no_failure():
    assert not issubclass(Retry, exceptions.TaskError)


@pytest.mark.parametrize(
    ("celery", "ours"),
    [("CeleryError", "CeleriacError"), ("ImproperlyConfigured", "ConfigError"), ("BackendError", "ResultError")],
)
def test_celerys_names_are_the_same_classes(celery, ours):
    assert getattr(exceptions, celery) is getattr(exceptions, ours)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_pickles(kind):
    copy = pickle.loads(pickle.dumps(kind("why")))
    assert type(copy) is kind
    assert copy.args == kind("why").args
    assert str(copy) == str(kind("why"))


def test_a_retry_pickles_with_its_reason_and_time():
    copy = pickle.loads(pickle.dumps(Retry(exc=ValueError("why"), when=30)))
    assert (repr(copy.exc), copy.when) == ("ValueError('why')", 30)


def test_not_registered_shows_its_text_and_not_its_repr():
    assert str(exceptions.NotRegistered("there is no task 'a'")) == "there is no task 'a'"


def test_a_remote_traceback_shows_on_lines_of_its_own():
    assert str(exceptions.RemoteTraceback("Traceback ...")) == "\n\nTraceback ..."


@pytest.mark.parametrize(
    ("retry", "text"),
    [
        (Retry(when=10), "Retry in 10s"),
        (Retry(when=0.5, exc=ValueError("why")), "Retry in 0.5s: ValueError('why')"),
        (Retry(when=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)), "Retry at 2026-01-02 03:04:05+00:00"),
        (Retry(), "Retry now"),
        (Retry("because"), "because"),
    ],
)
def test_a_retry_says_when_and_why(retry, text):
    assert str(retry) == text
