import pytest
from msgspec.structs import replace

from celeriac.documents import Document
from celeriac.engines.base import Ack, Bury, Requeue
from celeriac.exceptions import TimeLimitExceeded, WorkerLostError
from celeriac.messages import Malformed
from celeriac.past import NO_PAST, Loss, Past
from celeriac.worker.recovery import Policy, failure_record, judge

BACK, BACK_AND_COUNTED = Requeue(), Requeue(counted=True)
NOW = "2026-01-02T03:04:05+00:00"
CAUSE = "its process ended with signal 9 (SIGKILL)"


@pytest.fixture
def verdict(make_lease):
    def verdict(*, running=True, counted=True, max_deliveries=3, message=None, limit_s=None, past=NO_PAST, **given):
        told = {name: given.pop(name) for name in ("policy", "obituary", "terminated") if name in given}
        lease = replace(make_lease(message, **given), past=past)
        return judge(
            lease,
            running=running,
            counted=counted,
            max_deliveries=max_deliveries,
            max_interruptions=2,
            encode=Document.encode,
            ttl_s=60,
            cause=CAUSE,
            now=NOW,
            limit_s=limit_s,
            **told,
        )

    return verdict


@pytest.mark.parametrize(
    ("running", "counted", "deliveries", "back"),
    [
        (True, True, 1, BACK_AND_COUNTED),
        (True, True, 2, BACK_AND_COUNTED),
        (True, False, 1, BACK),
        (True, False, 9, BACK),
        (False, True, 1, BACK),
        (False, True, 9, BACK),
        (False, False, 9, BACK),
    ],
)
def test_what_ran_counts_and_what_did_not_goes_back_as_if_never_lent(verdict, running, counted, deliveries, back):
    settle = verdict(running=running, counted=counted, deliveries=deliveries).commit.settle
    assert replace(settle, past=None) == back
    assert (settle.past is not None) == running


@pytest.mark.parametrize(("deliveries", "most"), [(3, 3), (4, 3), (1, 1)])
def test_what_took_down_too_many_processes_has_failed(verdict, deliveries, most):
    settle = verdict(deliveries=deliveries, max_deliveries=most).commit.settle
    assert settle.past.loss == Loss(f"{CAUSE} in each of {deliveries} deliveries")
    assert (settle.counted, settle.delay_s) == (False, 0)


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("counted", [True, False])
def test_an_at_most_once_run_that_had_begun_is_never_repeated(verdict, running, counted):
    commit = verdict(begun=True, running=running, counted=counted).commit
    assert "at-most-once" in commit.settle.past.loss.reason
    assert commit.record is not None


@pytest.mark.parametrize("rest", [{}, {"begun": True}, {"running": False}, {"limit_s": 5.0}, {"deliveries": 9}])
def test_a_run_that_was_ended_because_it_was_revoked_is_never_repeated(verdict, rest):
    commit = verdict(terminated=True, counted=False, **rest).commit
    assert commit.settle == Ack()
    document = Document.decode("id-1", commit.record.body)
    assert (document.status, document.result["exc_message"]) == ("REVOKED", ["terminated"])


def test_who_waits_for_a_failed_task_is_told_why_at_once(verdict):
    commit = verdict(deliveries=3).commit
    assert (commit.record.task_id, commit.record.ttl_s, commit.record.fence) == ("id-1", 60, 7)
    document = Document.decode("id-1", commit.record.body)
    assert document.status == "FAILURE"
    assert document.date_done == NOW
    assert isinstance(document.value(), WorkerLostError)
    assert "signal 9 (SIGKILL) in each of 3 deliveries" in str(document.value())


@pytest.mark.parametrize("begun", [True, False])
def test_a_run_that_was_ended_at_its_hard_limit_has_failed_at_once(verdict, begun):
    commit = verdict(limit_s=5.0, begun=begun, counted=False).commit
    assert commit.settle.past.loss == Loss("it ran longer than its hard time limit of 5 s", 5.0)
    document = Document.decode("id-1", commit.record.body)
    assert document.status == "FAILURE"
    # As Celery stores it, so that its clients find their own class.
    assert document.result == {
        "exc_type": "TimeLimitExceeded",
        "exc_message": [5.0],
        "exc_module": "billiard.exceptions",
    }
    assert isinstance(document.value(), TimeLimitExceeded)


def test_every_end_of_a_process_is_told_in_order(verdict):
    settle = verdict(obituary="process 1 of a@b ended\nStack").commit.settle
    assert settle.past.history == (f"{NOW} delivery 1: process 1 of a@b ended\nStack",)
    settle = verdict(deliveries=2, past=settle.past).commit.settle
    assert settle.past.history[1:] == (f"{NOW} delivery 2: {CAUSE}",)


def test_interruptions_are_counted_apart_and_bounded(verdict):
    past = NO_PAST
    for number in (1, 2):
        settle = verdict(counted=False, past=past).commit.settle
        past = settle.past
        assert (settle.counted, past.interruptions, past.loss) == (False, number, None)
    commit = verdict(counted=False, past=past).commit
    assert "interrupted 3 times" in commit.settle.past.loss.reason
    assert "max_interruptions" in commit.settle.past.loss.reason
    assert Document.decode("id-1", commit.record.body).status == "FAILURE"


def test_what_was_not_running_is_not_interrupted(verdict):
    assert verdict(running=False, counted=False, past=Past(2)).commit.settle == BACK


def test_handlers_that_take_their_process_down_are_called_again_and_then_given_up(verdict):
    past = Past(loss=Loss("why"))
    again = verdict(past=past, deliveries=2).commit
    assert (again.settle.counted, again.settle.past.loss) == (True, Loss("why"))
    last = verdict(past=again.settle.past, deliveries=3).commit
    assert last.settle == Bury("why", f"{NOW} delivery 2: {CAUSE}\n\n{NOW} delivery 3: {CAUSE}")
    assert last.record is None  # it was stored when the run was found to have failed


def test_handlers_of_an_at_most_once_task_are_called_once(verdict):
    assert isinstance(verdict(past=Past(loss=Loss("why")), begun=True).commit.settle, Bury)


def test_handlers_that_are_interrupted_are_called_again(verdict):
    settle = verdict(past=Past(loss=Loss("why")), deliveries=9, begun=True, counted=False).commit.settle
    assert (settle.counted, settle.past.interruptions, settle.past.loss) == (False, 1, Loss("why"))
    assert verdict(past=Past(loss=Loss("why")), begun=True, running=False).commit.settle == BACK


def test_a_task_may_ask_that_a_lost_run_be_a_failure(verdict):
    commit = verdict(policy=Policy(repeat=False)).commit
    assert commit.settle.past.loss == Loss(CAUSE)
    assert commit.record is not None
    assert verdict(policy=Policy(repeat=False), running=False).commit.settle == BACK
    assert verdict(policy=Policy(repeat=False), counted=False).commit.settle.past.loss is None


@pytest.mark.parametrize("begun", [True, False])
def test_a_task_may_ask_that_a_lost_run_be_retried_which_is_no_failure_yet(verdict, begun):
    commit = verdict(policy=Policy(retry=True), begun=begun).commit
    assert commit.settle.past.loss is not None
    assert commit.record is None
    assert verdict(policy=Policy(retry=True), limit_s=5.0).commit.record is not None


def test_a_task_may_ask_to_be_repeated_after_its_hard_limit_but_not_for_ever(verdict):
    policy = Policy(repeat_at_limit=True)
    settle = verdict(policy=policy, limit_s=5.0, counted=False).commit.settle
    assert (settle.counted, settle.past.loss) == (True, None)
    assert verdict(policy=policy, limit_s=5.0, counted=False, deliveries=3).commit.settle.past.loss.limit_s == 5.0
    assert verdict(policy=policy, limit_s=5.0, counted=False, begun=True).commit.settle.past.loss.limit_s == 5.0


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
        ({"deliveries": 3}, "unit.job[id-1] has failed"),
        ({"begun": True}, "unit.job[id-1] has failed"),
        ({"policy": Policy(retry=True)}, "unit.job[id-1] is to be retried"),
        ({"past": Past(loss=Loss("why")), "deliveries": 3}, "unit.job[id-1] is buried"),
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


def test_who_waits_for_a_message_that_cannot_be_read_is_told_where_its_id_can(verdict):
    commit = verdict(message=Malformed(b"{}", "no body", id="id-1")).commit
    assert commit.settle == Bury("no body")
    document = Document.decode("id-1", commit.record.body)
    assert (document.status, document.result["exc_message"]) == ("FAILURE", ["no body"])
