"""The process that imports the application: a fork of the main process, with nothing of it but what was imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from support.processes import needs_proc
from support.project import Client, Project
from support.worker import WorkerProcess


@needs_proc
def test_a_pid_files_lock_is_the_main_processs_alone(project: Project, client: Client) -> None:
    project.with_common_tasks()
    pid_file = project.folder / "worker.pid"

    def has_it_open(pid: int) -> bool:
        return str(pid_file) in {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}

    with project.worker("-c", 1, "--pidfile", str(pid_file)) as worker:
        worker.wait_until_ready()
        assert has_it_open(worker.pid)
        assert not any(map(has_it_open, [worker.template_pid, *worker.child_pids(1)]))
        assert worker.stop() == 0


def test_what_a_module_has_registered_for_the_exit_runs_once_when_the_worker_ends(project: Project) -> None:
    project.write(
        "tasks",
        """
        import atexit
        from celeriac import Celery
        app = Celery("tasks")
        atexit.register(lambda: print("the application ends", flush=True))
        """,
    )
    with project.worker("-c", 2) as worker:
        worker.wait_until_ready()
        assert worker.stop() == 0
    assert worker.log.count("the application ends") == 1


def test_a_program_with_threads_and_open_connections_becomes_a_worker(project: Project, client: Client) -> None:
    project.write(
        "tasks",
        """
        import threading, time
        from celeriac import Celery

        app = Celery("tasks")

        @app.task
        def threads():
            return sorted(thread.name for thread in threading.enumerate())

        if __name__ == "__main__":
            threading.Thread(target=time.sleep, args=(3600,), name="the program's own").start()
            app.broker.queues()
            print("it begins")
            app.worker_main(["-c", "1", "-l", "info"])
        """,
    )
    command = [sys.executable, "tasks.py"]
    with WorkerProcess(command, project.folder, project.environment) as worker:
        worker.wait_until_ready()
        assert "it begins" in worker.log
        assert "the program's own" not in client.run("threads")
        assert worker.stop() == 0


def test_a_worker_needs_no_standard_output(project: Project, client: Client) -> None:
    project.with_common_tasks()
    with project.worker("-c", 1, before=["sh", "-c", 'exec "$@" >&-', "sh"]) as worker:
        worker.wait_until_ready()
        assert client.run("add", 1, 2) == 3
        assert worker.stop() == 0
