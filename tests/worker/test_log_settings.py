"""The settings of the log, in real workers."""

from __future__ import annotations

import re

import pytest

from support.project import Client, Project

_POOLS = pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio", "solo"])
_TASKS = """
    import logging
    from celeriac import Celery
    from celeriac.utils.log import get_task_logger

    app = Celery("tasks")
    logger = get_task_logger(__name__)

    @app.task
    def speak(text):
        logger.info("%s", text)
        return speak.request.id

    @app.task
    async def speak_async(text):
        logger.info("%s", text)

    @app.task
    def speak_plainly(text):
        logging.getLogger("mine").error("%s", text)
"""


def logging_project(project: Project, more: str = "") -> Project:
    return project.write("tasks", _TASKS + more)


@_POOLS
def test_the_lines_of_a_task_logger_name_the_task_and_its_id(project: Project, client: Client, pool: str) -> None:
    logging_project(project)
    with project.worker("-c", 2, "-P", pool) as worker:
        task_id = client.run("speak", "hello")
        worker.wait_for(rf"INFO/\S+\] tasks\.speak\[{task_id}\]: hello\n")
        result = client.send("speak_async", "hi")
        worker.wait_for(rf"INFO/\S+\] tasks\.speak_async\[{result.id}\]: hi\n")
        assert worker.log.count(": hello\n") == 1


@_POOLS
def test_formats_and_dates_are_those_of_the_settings(project: Project, client: Client, pool: str) -> None:
    logging_project(
        project,
        """
    app.conf.worker_log_format = "W %(asctime)s %(message)s"
    app.conf.worker_log_datefmt = "wdate"
    app.conf.worker_task_log_format = "T %(asctime)s %(task_name)s %(message)s"
    app.conf.worker_task_log_datefmt = "tdate"
""",
    )
    with project.worker("-c", 1, "-P", pool) as worker:
        client.run("speak", "hello")
        worker.wait_for(r"^T tdate tasks\.speak hello$")
        worker.wait_for(r"^W wdate Task tasks\.speak\[.*succeeded")
        worker.wait_for(r"^W wdate .* ready\.$")


@_POOLS
def test_colours_are_forced_by_a_setting_and_forbidden_by_no_color(project: Project, client: Client, pool: str) -> None:
    logging_project(project, "\n    app.conf.worker_log_color = True\n")
    with project.worker("-c", 1, "-P", pool) as worker:
        client.run("speak_plainly", "hello")
        worker.wait_for("\x1b\\[31m.* hello\x1b\\[0m")
    with project.worker("-c", 1, "-P", pool, NO_COLOR="1") as worker:
        client.run("speak_plainly", "hello")
        worker.wait_for(r"hello$")
        assert "\x1b[" not in worker.log


@_POOLS
def test_a_root_logger_that_is_the_applications_keeps_its_handlers(project: Project, client: Client, pool: str) -> None:
    logging_project(
        project,
        """
    app.conf.worker_hijack_root_logger = False
    logging.basicConfig(format="MINE %(message)s", level="INFO")
""",
    )
    with project.worker("-c", 1, "-P", pool) as worker:
        client.run("speak_plainly", "hello")
        worker.wait_for(r"^MINE hello$")
        worker.wait_for(r"^MINE Task tasks\.speak_plainly\[.*succeeded")
        client.run("speak", "task line")
        worker.wait_for(r"INFO/\S+\] tasks\.speak\[.*\]: task line$")
        assert worker.log.count("task line") == 1


@_POOLS
def test_an_application_that_sets_up_its_log_itself_has_it_in_every_process(
    project: Project, client: Client, pool: str
) -> None:
    logging_project(
        project,
        """
    from celeriac import signals

    @signals.setup_logging.connect
    def configure(loglevel, **more):
        logging.basicConfig(format="OWN %(processName)s %(message)s", level=loglevel)
""",
    )
    with project.worker("-c", 1, "-P", pool) as worker:
        client.run("speak", "hello")
        worker.wait_for(r"^OWN \w+(-1)? hello$")
        assert worker.stop() == 0
        assert worker.log.count("hello") == 1


def test_what_tasks_print_is_left_alone_on_request(project: Project, client: Client) -> None:
    project.with_common_tasks(worker_redirect_stdouts=False)
    with project.worker("-c", 1) as worker:
        assert client.run("add", 20, 1) == 21
        assert worker.stop() == 0
    assert re.search(r"^Adding 20 \+ 1", worker.log, re.MULTILINE)


def test_what_tasks_print_has_the_level_of_the_setting(project: Project, client: Client) -> None:
    project.with_common_tasks(worker_redirect_stdouts_level="ERROR")
    with project.worker("-c", 1, level="error") as worker:
        assert client.run("add", 20, 1) == 21
        worker.wait_for(r"ERROR/ForkPoolWorker-1\] Adding 20 \+ 1")


def test_handlers_that_a_receiver_adds_serve_all_processes(project: Project, client: Client) -> None:
    logging_project(
        project,
        """
    from celeriac import signals

    @signals.after_setup_task_logger.connect
    @signals.after_setup_logger.connect
    def add(logger, **more):
        logger.addHandler(logging.FileHandler("own.log"))
""",
    )
    with project.worker("-c", 2) as worker:
        client.run("speak_plainly", "plain")
        client.run("speak", "of a task")
        assert worker.stop() == 0
    lines = (project.folder / "own.log").read_text().splitlines()
    assert lines.count("plain") == lines.count("of a task") == 1
