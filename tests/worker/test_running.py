"""What happens to a task in a worker, in each pool: states, results, errors, and the lines in the log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from celeriac import states
from celeriac.exceptions import EncodeError, MaxRetriesExceededError, RemoteError, TaskRevokedError
from support.gate import Gate
from support.project import Client, Project
from support.waiting import until
from support.worker import WorkerProcess


@pytest.fixture(scope="module", params=["prefork", "threads", "asyncio", "solo"])
def pool(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def running(pool: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, WorkerProcess]]:
    project = Project(tmp_path_factory.mktemp(pool)).with_common_tasks()
    with project.worker("-P", pool, "-c", 2) as worker:
        worker.wait_until_ready()
        yield project, worker
        assert worker.stop() == 0, worker.log


@pytest.fixture
def project(running: tuple[Project, WorkerProcess]) -> Project:
    return running[0]


@pytest.fixture
def worker(running: tuple[Project, WorkerProcess]) -> WorkerProcess:
    return running[1]


def test_a_task_ends_with_its_value_and_the_log_tells(client: Client, worker: WorkerProcess) -> None:
    result = client.send("add", 4, 4)
    assert result.get(timeout=30) == 8
    assert (result.state, result.successful(), result.failed(), result.ready()) == (states.SUCCESS, True, False, True)
    assert result.date_done is not None
    assert abs(result.date_done - datetime.now(UTC)) < timedelta(minutes=1)
    name = re.escape(f"Task tasks.add[{result.id}]")
    worker.wait_for(rf"INFO/\S+\] {name} received\n")
    worker.wait_for(rf"INFO/\S+\] {name} succeeded in \d+\.?\d*(e-\d+)?s: 8\n")


def test_what_a_task_prints_goes_to_the_log(client: Client, worker: WorkerProcess) -> None:
    client.run("write_to_descriptors")
    client.run("add", 11, 12)
    worker.wait_for(r"WARNING/\S+\] Adding 11 \+ 12\.\.\.\n")
    worker.wait_for(r"WARNING/\S+\] to stderr\n")
    worker.wait_for(r"^by descriptor 1\n")


def test_a_task_that_raises_fails_and_the_log_has_the_traceback(client: Client, worker: WorkerProcess) -> None:
    result = client.send("fail", "tray 2")
    with pytest.raises(RemoteError, match="tray 2") as raised:  # this process has no module `tasks`
        result.get(timeout=30)
    assert type(raised.value).__name__ == "OutOfPaper"
    assert (result.state, result.failed()) == (states.FAILURE, True)
    assert result.traceback is not None
    assert result.traceback.endswith("tasks.OutOfPaper: tray 2\n")
    # From the task's own line on: nothing of celeriac stands before it.
    assert re.match(
        r'Traceback \(most recent call last\):\n  File ".*/tasks\.py", line \d+, in fail\n', result.traceback
    )
    name = re.escape(f"Task tasks.fail[{result.id}]")
    worker.wait_for(
        rf"ERROR/\S+\] {name} raised unexpected: OutOfPaper\('tray 2'\)\n"
        r"Traceback \(most recent call last\):\n(?:  .*\n)+tasks\.OutOfPaper: tray 2\n"
    )


def test_an_exception_comes_back_as_its_own_class_with_the_remote_traceback(project: Project) -> None:
    told = project.python(
        """
        import traceback
        from tasks import OutOfPaper, fail
        try:
            fail.delay("tray 3").get(timeout=30)
        except OutOfPaper as error:
            print(error.args)
            traceback.print_exception(error)
        """
    )
    assert told.stdout == "('tray 3',)\n"
    assert 'tasks.py", line' in told.stderr
    assert "raise OutOfPaper(text)" in told.stderr


def test_an_expected_exception_is_a_failure_without_a_fuss(client: Client, worker: WorkerProcess) -> None:
    result = client.send("fail_as_expected", "tray 4")
    assert result.get(timeout=30, propagate=False).args == ("tray 4",)
    assert result.state == states.FAILURE
    name = re.escape(f"Task tasks.fail_as_expected[{result.id}]")
    worker.wait_for(rf"INFO/\S+\] {name} raised expected: OutOfPaper\('tray 4'\)\n")
    assert result.id not in [letter.task_id for letter in client.app.broker.dead()]


def test_a_retry_is_a_state_of_its_own_until_the_next_try(client: Client, worker: WorkerProcess) -> None:
    result = client.send("flaky", 1, 0.5)
    name = re.escape(f"Task tasks.flaky[{result.id}]")
    worker.wait_for(rf"INFO/\S+\] {name} retry: Retry in 0\.5s: OutOfPaper\('try 1'\)\n")
    until(lambda: result.state in (states.RETRY, states.SUCCESS), "the retry is stored")
    if result.state == states.RETRY:  # else this process was away for longer than half a second
        assert result.result.args == ("try 1",)
    assert result.get(timeout=30) == 1
    worker.wait_for(rf"{name} succeeded in ")


def test_after_max_retries_the_task_fails_with_the_last_exception(client: Client) -> None:
    result = client.send("flaky", 9)
    with pytest.raises(RemoteError, match="try 3"):
        result.get(timeout=30)
    (letter,) = [letter for letter in client.app.broker.dead() if letter.task_id == result.id]
    assert "OutOfPaper('try 3')" in letter.reason
    assert issubclass(MaxRetriesExceededError, Exception)


def test_started_is_stored_for_tasks_that_track_it(client: Client, gate: Gate) -> None:
    result = client.send("started", gate.port)
    arrival = gate.arrival()
    until(lambda: result.state == states.STARTED, "STARTED is stored")
    assert result.info["pid"] == arrival.pid
    assert result.info["hostname"].startswith("celery@")
    arrival.open()
    assert result.get(timeout=30) is None


def test_a_state_of_ones_own_is_seen_from_outside_while_the_task_runs(client: Client, gate: Gate) -> None:
    result = client.send("report_progress", gate.port)
    arrival = gate.arrival()
    until(lambda: result.state == "PROGRESS", "the progress is stored")
    assert result.info == {"done": 3, "of": 5}
    assert not result.ready()
    arrival.open()
    assert result.get(timeout=30) == "done"
    assert result.state == states.SUCCESS


def test_an_expired_task_is_revoked_and_does_not_run(client: Client, worker: WorkerProcess) -> None:
    result = client.send("add", 70, 7, expires=datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(TaskRevokedError, match="expired"):
        result.get(timeout=30)
    assert result.state == states.REVOKED
    worker.wait_for(re.escape(f"Discarding revoked task: tasks.add[{result.id}] (expired at "))
    assert "Adding 70" not in worker.log


def test_a_coroutine_is_a_task_like_any_other(client: Client, gate: Gate) -> None:
    result = client.send("nap", "rested", gate.port)
    gate.arrival().open()
    assert result.get(timeout=30) == "rested"
    assert [client.send("nap", number) for number in range(3)][2].get(timeout=30) == 2


def test_a_result_that_is_ignored_is_not_stored(client: Client) -> None:
    ignored = client.send("add", 1, 2, ignore_result=True)
    assert ignored.get(timeout=30) is None
    assert client.run("add", 1, 2) == 3  # the next one is through, so the first is (or another child has it still)
    until(lambda: client.queue().leased + client.queue().ready == 0, "the queue is empty")
    assert client.app.AsyncResult(ignored.id).state == states.PENDING


def test_sys_exit_in_a_task_is_a_failure_of_the_task_alone(client: Client, pool: str) -> None:
    before = None if pool == "prefork" else client.run("pid")
    result = client.send("leave", 3)
    with pytest.raises(RemoteError) as raised:  # not SystemExit: that would end the caller
        result.get(timeout=30)
    assert type(raised.value).__name__ == "SystemExit"
    assert raised.value.args == (3,)
    assert client.run("pid") == before or pool == "prefork"


def test_a_value_that_cannot_be_stored_fails_and_names_the_task(client: Client) -> None:
    with pytest.raises(EncodeError, match=r"the return value of tasks\.unwritable cannot be stored: .*object"):
        client.run("unwritable")


def test_what_a_task_starts_can_be_ended(client: Client) -> None:
    assert client.run("terminate_a_subprocess") == -15
    assert client.run("dispositions") in ("['SIGPIPE', 'SIGXFSZ']", "['SIGPIPE', 'SIGXFZ', 'SIGXFSZ']")


def test_a_task_can_use_processes_of_its_own(client: Client) -> None:
    for _ in range(5):
        assert client.run("use_processes") == [[1, 2, 3], -15]


def test_nothing_is_said_of_losses_or_stops_when_there_are_none(worker: WorkerProcess) -> None:
    for word in ("Lost", "lost", "stopping", "Refused", "will run again"):
        assert word not in worker.log
