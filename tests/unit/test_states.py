import pytest

from celeriac import states
from support.celery_oracle import ask_celery

SETS = ["READY_STATES", "UNREADY_STATES", "EXCEPTION_STATES", "PROPAGATE_STATES", "ALL_STATES"]


@pytest.mark.parametrize("name", ["PENDING", "RECEIVED", "STARTED", "SUCCESS", "FAILURE", "RETRY", "REVOKED"])
def test_the_names_are_celerys(name):
    assert getattr(states, name) == name


def test_a_task_has_ended_or_it_has_not():
    assert sorted(states.READY_STATES) == ["FAILURE", "REVOKED", "SUCCESS"]
    assert sorted(states.UNREADY_STATES) == ["PENDING", "RECEIVED", "REJECTED", "RETRY", "STARTED"]


def test_only_final_exceptions_are_raised_by_get():
    assert sorted(states.PROPAGATE_STATES) == ["FAILURE", "REVOKED"]
    assert sorted(states.EXCEPTION_STATES) == ["FAILURE", "RETRY", "REVOKED"]


def test_the_sets_of_states_are_celerys():
    theirs = ask_celery(
        "from celery import states\nanswer = {name: sorted(getattr(states, name)) for name in given}", SETS
    )
    assert {name: sorted(getattr(states, name)) for name in SETS} == theirs
