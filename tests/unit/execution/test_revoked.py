"""Revoked messages and runs: what the executor makes of them."""

import msgspec
import pytest

from celeriac import signals
from celeriac.documents import Document
from celeriac.engines.base import Ack, Bury
from celeriac.exceptions import Terminated
from celeriac.messages import Malformed

REVOKED = {"exc_type": "TaskRevokedError", "exc_module": "celery.exceptions"}


def document(commit):
    assert commit.record is not None
    return Document.decode(commit.record.task_id, commit.record.body)


@pytest.fixture
def never(recording_app):
    @recording_app.task(name="unit.job")
    def job(*args):
        raise AssertionError("it ran")

    return job


@pytest.fixture
def told():
    heard = []

    def hear(sender, **facts):
        heard.append((sender, facts))

    signals.task_revoked.connect(hear, weak=False)
    yield heard
    signals.task_revoked.disconnect(hear)


def revoked(lease):
    return msgspec.structs.replace(lease, revoked=True)


def test_a_revoked_message_is_acknowledged_as_revoked_and_told(never, executor, make_lease, told):
    commit = executor.execute(revoked(make_lease()))
    assert commit.settle == Ack()
    assert (document(commit).status, document(commit).result) == ("REVOKED", {**REVOKED, "exc_message": ["revoked"]})
    ((sender, facts),) = told
    assert sender is never
    assert facts["request"].id == "id-1"
    assert (facts["terminated"], facts["signum"], facts["expired"]) == (False, None, False)


def test_revoked_comes_before_everything_else_that_may_be_wrong(executor, make_lease):
    for lease in (
        make_lease(task="unit.unknown"),
        make_lease(body=b"no body"),
        make_lease(expires="2020-01-01T00:00:00+00:00"),
        make_lease(eta="2100-01-01T00:00:00+00:00"),
        make_lease(begun=True),
    ):
        assert document(executor.execute(revoked(lease))).result["exc_message"] == ["revoked"]


def test_what_cannot_be_read_is_buried_also_when_it_is_revoked(executor, make_lease):
    commit = executor.execute(revoked(make_lease(Malformed(b"?", "not JSON", "id-1"))))
    assert isinstance(commit.settle, Bury)


def test_a_revoked_task_without_results_stores_none(never, executor, make_lease):
    assert executor.execute(revoked(make_lease(ignore_result=True))).record is None


def test_a_revoked_task_is_described_in_full_where_results_are(never, recording_app, executor, make_lease):
    recording_app.conf.result_extended = True
    found = document(executor.execute(revoked(make_lease(args=(1, 2), queue="mails"))))
    assert (found.name, found.args, found.queue, found.worker) == ("unit.job", [1, 2], "mails", "celery@unit")


def test_a_lease_revoked_after_its_claim_is_refused_once(never, executor, make_lease):
    executor.refuse(7)
    assert document(executor.execute(make_lease(token=7))).status == "REVOKED"
    assert document(executor.execute(make_lease(token=8))).status == "FAILURE"
    assert not executor._refused


def test_a_terminated_run_ends_as_revoked_and_drops_what_it_asked_for(recording_app, executor, make_lease, told):
    called = []

    @recording_app.task(name="unit.job", bind=True, autoretry_for=(BaseException,))
    def job(self):
        try:
            self.retry(countdown=5, throw=False)
        finally:
            called.append("cleaned up")
        raise Terminated(15)

    job.on_failure = lambda *_: called.append("on_failure")
    commit = executor.execute(make_lease())
    assert (commit.settle, commit.messages) == (Ack(), ())
    assert (document(commit).status, document(commit).result) == ("REVOKED", {**REVOKED, "exc_message": ["terminated"]})
    assert document(commit).date_done
    assert called == ["cleaned up"]
    ((sender, facts),) = told
    assert sender is job
    assert (facts["terminated"], facts["signum"], facts["expired"]) == (True, 15, False)
