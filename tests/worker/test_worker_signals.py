"""Receivers of the worker's signals: who is called where, in which order, and that none of them hurts the worker."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from support.project import Client, Project
from support.waiting import PATIENCE_S, until

_CELERY = Path(__file__).parents[2] / ".peers" / "celery" / "bin" / "python"

#: Writes a line for each signal: its name, the type of its sender, its arguments, the process.
_NOTES = """
    import os
    from {package} import Celery, signals

    app = Celery("tasks", broker={broker!r})

    @app.task
    def where():
        return os.getpid()

    def note(name):
        def receiver(signal, sender, **arguments):
            line = [name, type(sender).__name__, ",".join(sorted(arguments)), str(os.getpid())]
            with open({notes!r}, "a") as notes:
                notes.write(" ".join(part or "-" for part in line) + "\\n")
        return receiver

    for name in {names!r}:
        getattr(signals, name).connect(note(name), weak=False)
"""
_NAMES = (
    "celeryd_init",
    "worker_init",
    "after_setup_logger",
    "after_setup_task_logger",
    "celeryd_after_setup",
    "worker_process_init",
    "worker_ready",
    "worker_shutting_down",
    "worker_process_shutdown",
    "worker_shutdown",
)
_OF_CHILDREN = ("worker_process_init", "worker_process_shutdown")


class Notes:
    """What the receivers have written."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "notes"

    def lines(self) -> list[list[str]]:
        return [line.split() for line in self.file.read_text().splitlines()] if self.file.exists() else []

    def names(self) -> list[str]:
        return [line[0] for line in self.lines()]

    def wait_for(self, name: str, times: int = 1) -> None:
        until(lambda: self.names().count(name) >= times, f"{name} is sent")

    def pids(self, name: str) -> list[int]:
        return [int(line[-1]) for line in self.lines() if line[0] == name]

    def of_the_worker(self) -> list[str]:
        """Without the children's, which come at the same time as the others."""
        return [name for name in self.names() if name not in _OF_CHILDREN]


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path)


def noting(project: Project, notes: Notes, more: str = "", names: tuple[str, ...] = _NAMES) -> Project:
    text = _NOTES.format(package="celeriac", broker=None, notes=str(notes.file), names=names)
    return project.write("tasks", text.replace(", broker=None", "") + more)


def in_celery(folder: Path, pool: str) -> Notes:
    """The same in a worker of the released Celery."""
    if not _CELERY.exists():
        pytest.skip("there is no Celery to compare with: run scripts/peers")
    (folder / "theirs").mkdir()
    notes = Notes(folder / "theirs")
    project = Project(folder / "theirs")
    project.write("tasks", _NOTES.format(package="celery", broker="memory://", notes=str(notes.file), names=_NAMES))
    command = [str(_CELERY), "-m", "celery", "-A", "tasks", "worker", "-P", pool, "-c", "1"]
    worker = subprocess.Popen(
        command,
        cwd=project.folder,
        env=project.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        notes.wait_for("worker_ready")
        worker.terminate()
        worker.wait(PATIENCE_S)
    finally:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait(PATIENCE_S)
    return notes


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_the_signals_of_a_worker_and_their_arguments_are_celerys(
    project: Project, client: Client, notes: Notes, tmp_path: Path, pool: str
) -> None:
    """Differences: the senders' classes, and that a child may begin after `worker_ready`, which does not wait for it."""
    theirs = in_celery(tmp_path, pool)
    noting(project, notes)
    with project.worker("-c", 1, "-P", pool) as worker:
        client.run("where")
        notes.wait_for("worker_ready")
        assert worker.stop() == 0

    def arguments(notes: Notes) -> Mapping[str, str]:
        return {name: names for name, _, names, _ in notes.lines()}

    assert arguments(notes) == arguments(theirs)
    assert notes.of_the_worker() == theirs.of_the_worker()
    for sender in ("celeryd_init", "celeryd_after_setup", "worker_process_init", "worker_shutting_down"):
        for where in (notes, theirs):
            assert {line[1] for line in where.lines() if line[0] == sender} == {"str"}


@pytest.mark.parametrize(("pool", "children"), [("prefork", 2), ("threads", 1), ("asyncio", 1)])
def test_each_child_begins_and_ends_with_a_signal_and_the_rest_is_sent_in_one_other_process(
    project: Project, client: Client, notes: Notes, pool: str, children: int
) -> None:
    noting(project, notes)
    with project.worker("-c", 2, "-P", pool) as worker:
        pids = worker.child_pids(children)
        notes.wait_for("worker_process_init", children)
        assert client.run("where") in pids
        template = worker.template_pid
        assert worker.stop() == 0
    assert sorted(notes.pids("worker_process_init")) == sorted(notes.pids("worker_process_shutdown")) == sorted(pids)
    others = [name for name in _NAMES if name not in _OF_CHILDREN]
    assert [notes.pids(name) for name in others] == [[template]] * len(others)


def test_a_pool_chosen_by_a_setting_sends_each_signal_once(project: Project, client: Client, notes: Notes) -> None:
    noting(project, notes, '\n    app.conf.worker_pool = "solo"\n')
    with project.worker() as worker:
        assert client.run("where") == worker.pid
        notes.wait_for("worker_ready")
        assert worker.stop() == 0
    assert sorted(notes.names()) == sorted(set(_NAMES) - {"worker_process_shutdown"})
    assert {pid for name in _NAMES for pid in notes.pids(name)} == {worker.pid}


def test_a_child_is_announced_before_it_is_forked(project: Project, notes: Notes) -> None:
    noting(project, notes, names=("worker_before_create_process", "worker_process_init"))
    with project.worker("-c", 1) as worker:
        (pid,) = worker.child_pids(1)
        notes.wait_for("worker_process_init")
        os.kill(pid, signal.SIGKILL)
        notes.wait_for("worker_process_init", 2)
        assert worker.stop() == 0
    assert notes.names() == ["worker_before_create_process", "worker_process_init"] * 2


def test_the_application_announces_the_fork_in_each_child(project: Project, client: Client, notes: Notes) -> None:
    noting(project, notes, '    app.on_after_fork.connect(note("on_after_fork"), weak=False)\n')
    with project.worker("-c", 2) as worker:
        children = worker.child_pids(2)
        notes.wait_for("on_after_fork", 2)
    assert sorted(notes.pids("on_after_fork")) == sorted(children)


def test_worker_process_init_is_over_before_the_first_task(project: Project, client: Client) -> None:
    project.write(
        "tasks",
        """
        import time
        from celeriac import Celery, signals
        app = Celery("tasks")
        connection = []

        @signals.worker_process_init.connect
        def connect(**more):
            time.sleep(0.2)
            connection.append("open")

        @app.task
        def look():
            return connection
        """,
    )
    result = client.send("look")
    with project.worker("-c", 1):
        assert result.get(timeout=PATIENCE_S) == ["open"]


def test_what_receivers_are_given_describes_the_worker(project: Project, client: Client, notes: Notes) -> None:
    project.write(
        "tasks",
        f"""
        from celeriac import Celery, signals
        app = Celery("tasks")

        def note(*what):
            with open({str(notes.file)!r}, "a") as notes:
                print(*what, file=notes)

        @signals.celeryd_init.connect(sender="one@here")
        def configure(conf, options, instance, **more):
            conf.worker_concurrency = 3
            note("init", options["queues"], instance.concurrency)

        @signals.celeryd_init.connect(sender="other@here")
        def other(**more):
            note("other")

        @signals.worker_ready.connect
        def ready(sender, **more):
            note(sender, sender.pid, sender.pool, sender.concurrency, sender.queues, sender.app is app)

        @signals.worker_shutting_down.connect
        def stopping(sender, sig, how, exitcode, **more):
            note(sender, sig, how, exitcode)
        """,
    )
    with project.worker("-n", "one@here", "-Q", "mails") as worker:
        worker.child_pids(3)
        until(lambda: len(notes.lines()) == 2, "it is ready")
        assert worker.stop(signal.SIGINT) == 0
    assert notes.file.read_text().splitlines() == [
        "init ['mails'] None",
        f"one@here {worker.pid} prefork 3 ('mails',) True",
        "one@here SIGINT Warm 0",
    ]


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_receivers_that_raise_are_logged_and_change_nothing(project: Project, client: Client, pool: str) -> None:
    project.with_common_tasks()
    with (project.folder / "tasks.py").open("a") as module:
        module.write(
            "from celeriac import signals\n"
            "def broken(signal, **more):\n"
            "    raise ValueError('broken ' + signal.name)\n"
            f"for name in {_NAMES!r}:\n"
            "    getattr(signals, name).connect(broken)\n"
        )
    with project.worker("-c", 1, "-P", pool) as worker:
        assert client.run("add", 1, 2) == 3
        assert worker.stop() == 0
    for name in set(_NAMES) - {"worker_process_shutdown"}:
        assert f"ValueError: broken {name}" in worker.log


_ENDLESS = """
    import threading
    @signals.worker_ready.connect
    def never_ends(**more):
        threading.Event().wait()
"""


def test_a_receiver_that_does_not_end_holds_up_neither_tasks_nor_new_children(
    project: Project, client: Client, notes: Notes
) -> None:
    noting(project, notes, _ENDLESS)
    with project.worker("-c", 1) as worker:
        notes.wait_for("worker_ready")
        (pid,) = worker.child_pids(1)
        assert client.run("where") == pid
        os.kill(pid, signal.SIGKILL)
        assert client.run("where") != pid
        assert worker.stop() == 0


def test_the_worker_waits_for_the_last_receivers(project: Project, notes: Notes) -> None:
    noting(
        project,
        notes,
        f"""
    import time
    @signals.worker_shutdown.connect
    def close(**more):
        time.sleep(0.5)
        open({str(notes.file)!r}, "a").write("closed\\n")
""",
    )
    with project.worker("-c", 1) as worker:
        notes.wait_for("worker_ready")
        assert worker.stop() == 0
    assert notes.names()[-1] == "closed"


def test_what_a_receiver_prints_is_seen_once(project: Project, notes: Notes) -> None:
    noting(
        project,
        notes,
        """
    @signals.worker_before_create_process.connect
    @signals.worker_init.connect
    def speak(signal, **more):
        print("heard", signal.name)
""",
    )
    with project.worker("-c", 2) as worker:
        notes.wait_for("worker_process_init", 2)
        assert worker.stop() == 0
    assert worker.log.count("heard worker_init") == 1
    assert worker.log.count("heard worker_before_create_process") == 2
