"""SIGTERM, Ctrl-C, a second signal, and a grace period that is over."""

from __future__ import annotations

import os
import signal
import sqlite3
import time

import pytest

from support.gate import Gate
from support.processes import alive, needs_proc
from support.project import Client, Project
from support.waiting import until

_STOPPING = r"celeriac: stopping; running tasks have 25 s to finish, the rest goes back \(again: at once\)"


@pytest.mark.parametrize("by", ["SIGTERM", "SIGINT", "SIGHUP", "Ctrl-C"])
def test_a_signal_lets_running_tasks_finish_and_gives_back_the_rest(
    by: str, project: Project, client: Client, gate: Gate
) -> None:
    project.with_common_tasks()
    with project.worker("-c", 1) as worker:
        running = client.send("hold", gate.port, "finished")
        arrival = gate.arrival()
        waiting = [client.send("hold", gate.port, f"waiting {number}") for number in range(3)]
        if by == "Ctrl-C":
            worker.tell_group(signal.SIGINT)
        else:
            worker.tell(signal.Signals[by])
        worker.wait_for(_STOPPING)
        assert gate.stays_empty(1.2)  # longer than it takes anything in the child to notice that the task takes long
        assert alive(arrival.pid)
        arrival.open()
        assert worker.wait() == 0
        assert running.get(timeout=30) == "finished"
        assert (client.queue().ready, client.queue().leased) == (3, 0)
        assert client.app.broker.nodes() == []
        assert "Traceback" not in worker.log
    # As if they had never been lent: nothing counts against them, and their order is the same.
    with project.worker("-c", 1):
        for number in range(3):
            arrival = gate.arrival()
            assert arrival.word == f"waiting {number}"
            arrival.open()
        assert [result.get(timeout=30) for result in waiting] == [f"waiting {number}" for number in range(3)]


def test_an_idle_worker_stops_at_once(project: Project) -> None:
    project.with_common_tasks()
    with project.worker("-c", 3) as worker:
        worker.wait_until_ready()
        assert worker.stop() == 0
        assert worker.log.count("stopping") == 1
        assert "ERROR" not in worker.log
        assert "Traceback" not in worker.log


def test_work_given_back_while_stopping_goes_to_another_worker(project: Project, client: Client, gate: Gate) -> None:
    """A worker that finishes its last long task keeps nothing else waiting."""
    project.with_common_tasks()
    with project.worker("-c", 1) as worker:
        for number in range(30):
            client.send("add", number, 1)
        assert client.run("add", 30, 1) == 31  # quick ones, so that it claims several at a time
        client.send("hold", gate.port)
        quick = [client.send("add", number, 2) for number in range(10)]
        holding = gate.arrival()
        worker.tell()
        worker.wait_for(_STOPPING)
        with project.worker("-c", 1):
            assert [result.get(timeout=30) for result in quick] == list(range(2, 12))
        holding.open()
        assert worker.wait() == 0


@needs_proc
@pytest.mark.parametrize("by", ["a second signal", "the end of the grace period"])
def test_what_still_runs_in_the_end_goes_back_uncounted(by: str, project: Project, client: Client, gate: Gate) -> None:
    grace_s = 0.3 if by == "the end of the grace period" else 25
    project.with_common_tasks(worker_shutdown_grace=grace_s)
    with project.worker("-c", 2) as worker:
        result = client.send("facts", gate.port)
        arrival = gate.arrival()
        worker.tell()
        worker.wait_for("celeriac: stopping")
        if by == "a second signal":
            worker.tell()
        assert worker.wait() == 0
        until(lambda: not alive(arrival.pid), "the child is dead")
        assert "Stopping 1 running task at once" in worker.log
        assert "ERROR" not in worker.log
        assert f"Task tasks.facts[{result.id}] was interrupted and goes back to its queue" in worker.log
        assert (client.queue().ready, client.queue().leased) == (1, 0)
    with project.worker("-c", 1):
        again = gate.arrival()
        assert again.word.endswith(" False")  # not counted as a delivery
        again.open()
        assert result.get(timeout=30) is None


def test_what_has_ended_when_the_grace_period_is_over_is_committed_and_not_run_again(
    project: Project, client: Client, gate: Gate
) -> None:
    project.with_common_tasks(worker_shutdown_grace=0.5)
    with project.worker("-c", 1) as worker:
        result = client.send("hold", gate.port, "once")
        arrival = gate.arrival()
        writer = sqlite3.connect(project.store, isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")  # nobody commits until this ends
        arrival.open()
        worker.wait_for("succeeded")
        worker.tell()
        worker.wait_for("celeriac: stopping")
        time.sleep(0.9)  # into the second that is left for commits
        writer.execute("ROLLBACK")
        writer.close()
        assert worker.wait() == 0
        assert "at once" not in worker.log.partition("stopping")[2].partition("\n")[2]
    assert (client.queue().ready, client.queue().leased) == (0, 0)
    assert result.get(timeout=30) == "once"


def test_at_most_once_work_that_is_interrupted_is_a_failure(project: Project, client: Client, gate: Gate) -> None:
    project.with_common_tasks(worker_shutdown_grace=0.2, task_acks_late=False)
    with project.worker("-c", 1) as worker:
        result = client.send("hold", gate.port)
        gate.arrival()
        assert worker.stop() == 0
        assert type(result.get(timeout=30, propagate=False)).__name__ == "WorkerLostError"
    with project.worker("-c", 1):  # to call the handlers and to bury it
        (letter,) = until(client.app.broker.dead, "it is buried")
        assert letter.task_id == result.id
        assert client.queue().ready == 0
        assert gate.stays_empty(0.1)


def test_a_solo_worker_finishes_its_task_and_stops(project: Project, client: Client, gate: Gate) -> None:
    project.with_common_tasks()
    with project.worker("-P", "solo") as worker:
        running = client.send("hold", gate.port, "finished")
        arrival = gate.arrival()
        waiting = client.send("hold", gate.port)
        worker.tell()
        worker.wait_for("celeriac: stopping")
        arrival.open()
        assert worker.wait() == 0
        assert running.get(timeout=30) == "finished"
        assert waiting.state == "PENDING"
        assert (client.queue().ready, client.queue().leased) == (1, 0)


def test_a_second_signal_ends_a_solo_worker_at_once(project: Project, client: Client, gate: Gate) -> None:
    project.with_common_tasks()
    with project.worker("-P", "solo") as worker:
        result = client.send("hold", gate.port, "again")
        gate.arrival()
        worker.tell(signal.SIGINT)
        worker.wait_for("celeriac: stopping")
        worker.tell(signal.SIGINT)
        assert worker.wait() != 0
    with project.worker("-c", 1):
        gate.arrival().open()
        assert result.get(timeout=30) == "again"


@needs_proc
def test_a_template_that_dies_during_the_stop_leaves_no_mess(project: Project, client: Client, gate: Gate) -> None:
    project.with_common_tasks()
    with project.worker("-c", 1) as worker:
        client.send("hold", gate.port)
        gate.arrival()
        template = worker.template_pid
        worker.tell()
        worker.wait_for(_STOPPING)
        os.kill(template, signal.SIGKILL)
        assert worker.wait() == 1
        assert "Traceback" not in worker.log
        assert (client.queue().ready, client.queue().leased) == (1, 0)


def test_under_nohup_a_closed_terminal_is_no_reason_to_stop(project: Project, client: Client) -> None:
    project.with_common_tasks()
    with project.worker("-c", 1, before=["nohup"]) as worker:
        worker.wait_until_ready()
        worker.tell_group(signal.SIGHUP)
        assert client.run("add", 1, 2) == 3
        assert "stopping" not in worker.log
        assert worker.stop() == 0


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_a_worker_can_be_stopped_while_the_application_is_loading(pool: str, project: Project) -> None:
    project.write(
        "tasks",
        """
        import time
        print("loading", flush=True)
        time.sleep(60)
        """,
    )
    with project.worker("-P", pool) as worker:
        worker.wait_for("loading")
        worker.tell(signal.SIGINT)
        worker.wait(timeout_s=10)


def test_ctrl_c_does_not_reach_a_process_that_only_starts_and_would_show_a_traceback(project: Project) -> None:
    held = "signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])"
    project.with_common_tasks()
    project.write(
        "sitecustomize",
        f"""
        import os, signal
        os.register_at_fork(after_in_child=lambda: print("it starts, held back:", {held}, flush=True))
        """,
    )
    tasks = (project.folder / "tasks.py").read_text(encoding="utf-8")
    project.write("tasks", f"{tasks}\nimport signal\nprint('it loads, held back:', {held}, flush=True)\n")
    with project.worker("-c", 1, PYTHONPATH=str(project.folder)) as worker:
        worker.wait_for("it starts, held back: True")
        worker.wait_for("it loads, held back: False")
        worker.wait_until_ready()
        worker.tell_group(signal.SIGINT)
        assert worker.wait(timeout_s=30) == 0
    assert "Traceback" not in worker.log


def test_a_worker_that_waits_for_its_store_can_be_stopped(project: Project) -> None:
    project.with_common_tasks(broker_connection_timeout=0.2)
    assert project.celeriac("-A", "tasks", "status").returncode == 0
    with project.locked_store(), project.worker("-c", 1) as worker:
        worker.wait_for(r"ERROR/MainProcess\] The broker cannot be used .*: .*locked by another program")
        assert worker.stop() == 0
    assert os.path.exists(project.store)
