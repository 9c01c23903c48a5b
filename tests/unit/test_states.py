import pytest

from celeriac import states


@pytest.mark.parametrize("name", ["PENDING", "RECEIVED", "STARTED", "SUCCESS", "FAILURE", "RETRY", "REVOKED"])
def test_the_names_are_celerys(name):
    assert getattr(states, name) == name


def test_a_task_has_ended_or_it_has_not():
    assert sorted(states.READY_STATES) == ["FAILURE", "REVOKED", "SUCCESS"]
    assert sorted(states.UNREADY_STATES) == ["PENDING", "RECEIVED", "RETRY", "STARTED"]


def test_only_final_exceptions_are_raised_by_get():
    assert sorted(states.PROPAGATE_STATES) == ["FAILURE", "REVOKED"]
    assert sorted(states.EXCEPTION_STATES) == ["FAILURE", "RETRY", "REVOKED"]
