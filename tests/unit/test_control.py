"""`app.control`, and what it makes of what one writes."""

import signal
import time

import pytest

from celeriac.control import Control
from celeriac.exceptions import CeleriacWarning, TaskRevokedError
from celeriac.revoking import signal_name


@pytest.fixture
def job(app):
    return app.task(name="unit.job")(lambda *args: None)


def marks(app):
    return {one.task_id: one.signal for one in app.control.revocations()}


def test_an_application_has_one_control(app):
    assert isinstance(app.control, Control)
    assert app.control is app.control
    assert app.control.app is app


def test_one_task_or_several_are_revoked(app):
    app.control.revoke("a")
    app.control.revoke(["b", "c", "b"])
    app.control.revoke(iter(["d"]))
    assert marks(app) == {"a": None, "b": None, "c": None, "d": None}


def test_terminate_asks_for_a_signal(app):
    app.control.revoke("a", terminate=True)
    app.control.revoke("b", terminate=True, signal="KILL")
    app.control.terminate("c", signal=signal.SIGUSR1)
    assert marks(app) == {"a": "SIGTERM", "b": "SIGKILL", "c": "SIGUSR1"}


def test_it_holds_as_long_as_the_setting_says_or_the_call(app):
    app.conf.revoke_expires = 500
    app.control.revoke("a")
    app.control.revoke("b", expires=100)
    left = [round((one.expires - time.time()) / 100) for one in app.control.revocations()]
    assert left == [1, 5]


def test_a_destination_is_said_to_have_no_effect(app):
    with pytest.warns(CeleriacWarning, match="destination"):
        app.control.revoke("a", destination=["one@host"])
    assert marks(app) == {"a": None}


def test_what_waits_is_revoked_with_all_that_is_known_of_it(app, job):
    app.conf.result_extended = True
    result = job.apply_async((1, 2), queue="mails")
    result.revoke()
    with pytest.raises(TaskRevokedError, match="revoked"):
        result.get(timeout=5)
    assert (result.state, result.name, result.args, result.queue) == ("REVOKED", "unit.job", [1, 2], "mails")
    assert result.date_done is not None
    assert app.broker.queues() == []


def test_what_waits_and_keeps_no_result_is_only_taken_out(app, job):
    result = job.apply_async((1,), ignore_result=True)
    app.control.revoke(result.id)
    assert app.results.get([result.id]) == {}
    assert app.broker.queues() == []


def test_a_bad_signal_is_an_error_before_anything_is_revoked(app):
    with pytest.raises(ValueError, match="SIGNOTHING"):
        app.control.revoke("a", terminate=True, signal="SIGNOTHING")
    assert marks(app) == {}


def test_waiting_for_the_end_gives_up_in_time(app, job):
    result = app.AsyncResult("unknown")
    result.revoke(wait=True, timeout=0.01)
    assert result.state == "PENDING"
    waiting = job.delay()
    waiting.revoke(wait=True)
    assert waiting.state == "REVOKED"


@pytest.mark.parametrize("given", ["TERM", "SIGTERM", "sigterm", "term", 15, "15", None])
def test_a_signal_can_be_written_in_many_ways(given):
    assert signal_name(given) == "SIGTERM"
