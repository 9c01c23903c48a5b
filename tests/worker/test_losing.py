"""Processes that die while they run tasks: what is repeated, what is not, how soon, and what is said of it."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable

import pytest

from celeriac import states
from celeriac.exceptions import WorkerLostError
from support.gate import Gate
from support.processes import alive, needs_proc
from support.project import Client, Project
from support.waiting import until

#: A task of a killed child is to start again within milliseconds; of a killed worker within the second it is looked for.
_SOON_S = 8.0

pytestmark = needs_proc


def test_a_killed_childs_task_starts_again_and_says_so(
    project: Project, client: Client, gate: Gate, figure: Callable[[str], None]
) -> None:
    project.with_common_tasks()
    with project.worker("-c", 2) as worker:
        result = client.send("facts", gate.port)
        first = gate.arrival()
        assert first.word.endswith(" False")
        os.kill(first.pid, signal.SIGKILL)
        killed = time.monotonic()
        second = gate.arrival(_SOON_S)
        figure(f"{(time.monotonic() - killed) * 1000:.0f} ms from kill -9 of a child to the next run of its task")
        assert second.pid != first.pid
        assert second.word.endswith(" True")  # request.delivery_info["redelivered"]
        worker.wait_for(
            rf"ERROR/MainProcess\] Process 'ForkPoolWorker-\d' pid:{first.pid} ended with signal 9 \(SIGKILL\)"
        )
        worker.wait_for(rf"Task tasks\.facts\[{result.id}\] will run again: .*signal 9 \(SIGKILL\) \(delivery 1 of 3\)")
        second.open()
        assert result.get(timeout=30) is None
        assert len(worker.child_pids(2)) == 2
        assert worker.stop() == 0


def test_what_a_killed_child_had_not_begun_goes_back_uncounted(project: Project, client: Client, gate: Gate) -> None:
    project.with_common_tasks()
    with project.worker("-c", 1) as worker:
        for number in range(30):
            client.send("add", number, 1)
        assert client.run("add", 30, 1) == 31  # quick ones, so that it claims several at a time
        client.send("hold", gate.port, "before")
        behind = [client.send("facts", gate.port) for _ in range(5)]
        before = gate.arrival()
        os.kill(before.pid, signal.SIGKILL)
        gate.arrival(_SOON_S).open()
        arrivals = {}
        for _ in behind:
            arrival = gate.arrival()
            task_id, _, redelivered = arrival.word.split()
            arrivals[task_id] = redelivered
            arrival.open()
        assert arrivals == {result.id: "False" for result in behind}
        for result in behind:
            assert result.get(timeout=30) is None
        assert worker.log.count("will run again") == 1


def test_a_task_that_kills_its_process_every_time_is_buried_after_three(project: Project, client: Client) -> None:
    project.with_common_tasks()
    with project.worker("-c", 2) as worker:
        result = client.send("kill_own_process")
        innocent = [client.send("add", number, 1) for number in range(20)]
        with pytest.raises(WorkerLostError, match=r"signal 9 \(SIGKILL\) in each of 3 deliveries"):
            result.get(timeout=60)
        assert result.state == states.FAILURE
        assert [one.get(timeout=30) for one in innocent] == list(range(1, 21))
        worker.wait_for(rf"Task tasks\.kill_own_process\[{result.id}\] has failed: ")
        (letter,) = until(client.app.broker.dead, "it is buried")
        assert (letter.task_id, letter.deliveries) == (result.id, 3)
        assert worker.log.count("(delivery ") == 2
        assert client.run("add", 1, 1) == 2
        assert worker.stop() == 0


@pytest.mark.parametrize("where", ["application", "task"])
def test_at_most_once_is_a_failure_and_not_repeated(where: str, project: Project, client: Client, gate: Gate) -> None:
    task = "hold" if where == "application" else "hold_at_most_once"
    project.with_common_tasks(task_acks_late=where == "task")
    with project.worker("-c", 1) as worker:
        result = client.send(task, gate.port)
        waiting = client.send("add", 1, 2)
        os.kill(gate.arrival().pid, signal.SIGKILL)
        with pytest.raises(WorkerLostError, match=r"acks_late=False.*not repeated"):
            result.get(timeout=30)
        assert waiting.get(timeout=30) == 3
        assert gate.stays_empty(0.2)
        (letter,) = until(client.app.broker.dead, "it is buried")
        assert letter.task_id == result.id
        worker.wait_for(rf"Task tasks\.{task}\[{result.id}\] has failed: its process ended with signal 9")


def test_at_most_once_holds_when_the_whole_worker_dies(project: Project, client: Client, gate: Gate) -> None:
    project.with_common_tasks(task_acks_late=False)
    with project.worker("-c", 1) as worker:
        result = client.send("hold", gate.port)
        gate.arrival()
        worker.kill()
    with project.worker("-c", 1), pytest.raises(WorkerLostError):
        result.get(timeout=30)
    assert gate.stays_empty(0.1)


def test_a_worker_whose_supervisor_is_killed_dies_whole_and_the_next_takes_over(
    project: Project, client: Client, gate: Gate
) -> None:
    project.with_common_tasks()
    with project.worker("-c", 2) as worker:
        result = client.send("facts", gate.port)
        arrival = gate.arrival()
        family = [worker.template_pid, *worker.child_pids(2)]
        with project.worker("-c", 1) as second:
            second.wait_until_ready()
            worker.tell(signal.SIGKILL)
            until(lambda: not any(map(alive, family)), "template and children are dead", timeout_s=_SOON_S)
            again = gate.arrival(_SOON_S)
            assert again.pid not in family
            again.open()
            assert result.get(timeout=30) is None
            second.wait_for(rf"Task tasks\.facts\[{result.id}\] will run again: its worker died \(delivery 1 of 3\)")
            assert [state.alive for state in client.app.broker.nodes()] == [True]
        assert arrival.pid in family


def test_a_worker_without_its_template_ends_and_gives_back(project: Project, client: Client, gate: Gate) -> None:
    project.with_common_tasks()
    with project.worker("-c", 2) as worker:
        result = client.send("hold", gate.port, "again")
        gate.arrival()
        os.kill(worker.template_pid, signal.SIGKILL)
        assert worker.wait() == 1
        assert re.search(r"CRITICAL/MainProcess\] The template process ended with signal 9 \(SIGKILL\)", worker.log)
        assert "Traceback" not in worker.log
        assert (client.queue().ready, client.queue().leased) == (1, 0)
        assert client.app.broker.nodes() == []
    with project.worker("-c", 1):
        gate.arrival().open()
        assert result.get(timeout=30) == "again"


def test_a_task_in_c_code_keeps_its_lease(project: Project, client: Client, gate: Gate) -> None:
    project.with_common_tasks(worker_lease=0.5)
    with project.worker("-c", 1) as one, project.worker("-c", 1) as two:
        one.wait_until_ready()
        two.wait_until_ready()
        result = client.send("hold_the_gil", gate.port, 2.5)
        gate.arrival()
        assert result.get(timeout=30) == "held"
        assert gate.stays_empty(0.1)
        assert "will run again" not in one.log + two.log
        assert "Refused" not in one.log + two.log


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_a_store_deleted_under_a_worker_is_made_anew(pool: str, project: Project, client: Client, gate: Gate) -> None:
    project.with_common_tasks(worker_lease=1.5)
    with project.worker("-c", 1, "-P", pool) as worker:
        worker.wait_until_ready()
        assert client.run("add", 1, 1) == 2
        project.remove_store()
        # Other clients, who had opened the old file, find the new one as well.
        assert client.run("add", 2, 2) == 4
        until(lambda: [state.alive for state in client.app.broker.nodes()] == [True], "the worker is on the list again")
        with project.worker("-c", 1) as second:
            second.wait_until_ready()
            client.send("hold", gate.port)
            gate.arrival()
            time.sleep(2.2)  # longer than the second worker takes to look for dead ones
            assert gate.stays_empty(0.1)  # so nobody took the living one for dead
        assert "Traceback" not in worker.log
        assert "Refused" not in worker.log


def test_a_terminal_that_goes_away_takes_no_task_with_it(project: Project, client: Client) -> None:
    """`celeriac worker | tee log`, and tee is killed: the log is lost, not the tasks."""
    project.with_common_tasks()
    with project.worker("-c", 1) as worker:
        worker.wait_until_ready()
        worker.close_log()
        assert [client.run("add", number, 1) for number in range(5)] == list(range(1, 6))
        with pytest.raises(Exception, match="tray"):
            client.run("fail", "tray 6")
        assert worker.stop() == 0
