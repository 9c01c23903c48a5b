import pytest

from celeriac.documents import Document
from celeriac.engines.base import Bury, Requeue
from celeriac.exceptions import TimeLimitExceeded, WorkerLostError
from celeriac.messages import Malformed
from celeriac.worker.recovery import failure_record, judge

BACK, BACK_AND_COUNTED = Requeue(), Requeue(counted=True)


@pytest.fixture
def verdict(make_lease):
    def verdict(*, running=True, counted=True, max_deliveries=3, message=None, limit_s=None, **lease):
        return judge(
            make_lease(message, **lease),
            running=running,
            counted=counted,
            max_deliveries=max_deliveries,
            encode=Document.encode,
            ttl_s=60,
            cause="its process ended with signal 9 (SIGKILL)",
            now="2026-01-02T03:04:05+00:00",
            limit_s=limit_s,
        )

    return verdict


@pytest.mark.parametrize(
    ("running", "counted", "deliveries", "settle"),
    [
        (True, True, 1, BACK_AND_COUNTED),
        (True, True, 2, BACK_AND_COUNTED),
        (True, True, 3, Bury),
        (True, True, 4, Bury),
        (True, False, 1, BACK),
        (True, False, 9, BACK),
        (False, True, 1, BACK),
        (False, True, 9, BACK),
        (False, False, 9, BACK),
    ],
)
def test_what_ran_counts_and_what_did_not_goes_back_as_if_never_lent(verdict, running, counted, deliveries, settle):
    found = verdict(running=running, counted=counted, deliveries=deliveries).commit.settle
    assert found == settle or (settle is Bury and isinstance(found, Bury))


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("counted", [True, False])
def test_an_at_most_once_run_that_had_begun_is_never_repeated(verdict, running, counted):
    commit = verdict(begun=True, running=running, counted=counted).commit
    assert isinstance(commit.settle, Bury)
    assert "at-most-once" in commit.settle.reason
    assert commit.record is not None


def test_one_delivery_may_be_all_there_are(verdict):
    assert isinstance(verdict(deliveries=1, max_deliveries=1).commit.settle, Bury)


def test_who_waits_for_a_buried_task_is_told_why(verdict):
    commit = verdict(deliveries=3).commit
    assert (commit.record.task_id, commit.record.ttl_s, commit.record.fence) == ("id-1", 60, 7)
    document = Document.decode("id-1", commit.record.body)
    assert document.status == "FAILURE"
    assert document.date_done == "2026-01-02T03:04:05+00:00"
    assert isinstance(document.value(), WorkerLostError)
    assert "signal 9 (SIGKILL) in each of 3 deliveries" in str(document.value())


@pytest.mark.parametrize("begun", [True, False])
def test_a_run_that_was_ended_at_its_hard_limit_is_buried_at_once(verdict, begun):
    commit = verdict(limit_s=5.0, begun=begun, counted=False).commit
    assert isinstance(commit.settle, Bury)
    assert "hard time limit of 5 s" in commit.settle.reason
    document = Document.decode("id-1", commit.record.body)
    assert document.status == "FAILURE"
    # As Celery stores it, so that its clients find their own class.
    assert document.result == {
        "exc_type": "TimeLimitExceeded",
        "exc_message": [5.0],
        "exc_module": "billiard.exceptions",
    }
    assert isinstance(document.value(), TimeLimitExceeded)


def test_what_goes_back_stores_nothing(verdict):
    assert verdict().commit.record is None
    assert verdict().commit.token == 7


def test_a_message_that_cannot_be_read_is_buried(verdict):
    commit = verdict(message=Malformed(b"\xff", "not JSON")).commit
    assert commit.settle == Bury("not JSON")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "unit.job[id-1] will run again: its process ended with signal 9 (SIGKILL) (delivery 1 of 3)"),
        ({"running": False}, "unit.job[id-1] was not running and goes back"),
        ({"counted": False}, "unit.job[id-1] was interrupted and goes back"),
        ({"deliveries": 3}, "unit.job[id-1] is buried"),
        ({"begun": True}, "unit.job[id-1] failed"),
    ],
)
def test_the_line_for_the_log_says_what_became_of_it(verdict, given, words):
    assert words in verdict(**given).line


def test_no_failure_is_stored_where_none_is_wanted_or_nobody_can_be_told(make_message):
    error = WorkerLostError("why")
    assert failure_record(make_message(ignore_result=True), 7, error, Document.encode, None, "now") is None
    assert failure_record(Malformed(b"", "not JSON"), 7, error, Document.encode, None, "now") is None
    assert (
        failure_record(Malformed(b"", "not JSON", id="id-1"), 7, error, Document.encode, None, "now").task_id == "id-1"
    )
