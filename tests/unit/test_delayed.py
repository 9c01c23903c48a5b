import time

import pytest

from celeriac.delayed import DelayedTasks
from celeriac.engines.base import Claim, Node, Owner
from celeriac.testing.clock import ManualClock


@pytest.fixture
def clock():
    return ManualClock(time.time())  # the store has the real one


@pytest.fixture
def job(app):
    return app.task(name="unit.job")(lambda *args: None)


@pytest.fixture
def delayed(app):
    return DelayedTasks(app)


def claimed(app, *queues):
    app.broker.register(Node("n", "celery@unit", "unit", 4321, "prefork", 1, queues or ("celery",)))
    return [lease.message for lease in app.broker.exchange(Owner("n", 1), [], Claim(queues or ("celery",), 100)).leases]


def test_they_are_listed_the_soonest_first(job, delayed):
    late, soon = job.apply_async(countdown=200), job.apply_async(countdown=100, queue="mails")
    job.delay()
    assert [one.message.id for one in delayed.list()] == [soon.id, late.id]
    assert [one.message.id for one in delayed.list("celery")] == [late.id]
    assert [one.message.id for one in delayed.list(limit=1)] == [soon.id]


def test_one_is_found_by_its_id_while_it_waits(job, delayed):
    result, ready = job.apply_async(countdown=100), job.delay()
    found = delayed.get(result.id)
    assert found is not None
    assert (found.message.id, found.queue) == (result.id, "celery")
    assert delayed.get(ready.id) is None
    assert delayed.get("unknown") is None


def test_one_that_is_run_now_has_no_eta_any_more(app, job, delayed):
    result = job.apply_async((1, 2), countdown=100)
    assert delayed.run([result.id, "unknown"]) == 1
    (message,) = claimed(app)
    assert (message.id, message.eta) == (result.id, None)
    assert delayed.run([result.id]) == 0


def test_all_are_run_now_in_their_order(app, job, delayed):
    results = [job.apply_async((number,), countdown=100 + number) for number in range(450)]
    elsewhere = job.apply_async(countdown=100, queue="mails")
    assert delayed.run_all("celery") == 450
    first = [message.id for message in claimed(app)]
    assert first == [result.id for result in results[:100]]
    assert [one.message.id for one in delayed.list()] == [elsewhere.id]
    assert delayed.run_all() == 1


def test_one_is_revoked(job, delayed):
    result = job.apply_async(countdown=100)
    assert delayed.revoke([result.id]) == 1
    assert result.state == "REVOKED"
    assert delayed.list() == []
