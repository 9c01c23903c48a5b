"""`celeriac worker` that cannot start: what it says, and its exit status."""

from __future__ import annotations

import pytest

from support.project import Project

POOLS = ["prefork", "solo"]


def _error(project: Project, *arguments: str | int, status: int = 1, lines: int = 1) -> str:
    """What a command says that fails: one line, no traceback."""
    done = project.celeriac(*arguments)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    *_, last = done.stderr.splitlines()
    assert last.startswith("Error: ")
    if status == 1:
        assert len(done.stderr.splitlines()) == lines, done.stderr
    return last


def test_without_an_application(project: Project) -> None:
    error = _error(project, "worker")
    assert "no application was named" in error
    assert "celeriac -A tasks COMMAND" in error
    assert "CELERIAC_APP" in error


def test_the_application_can_be_named_by_the_environment(project: Project) -> None:
    project.with_common_tasks()
    done = project.celeriac("status", CELERIAC_APP="tasks")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("pool", POOLS)
def test_a_module_that_is_not_there(pool: str, project: Project) -> None:
    error = _error(project, "-A", "taskz", "worker", "-P", pool)
    assert error == (
        f"Error: there is no module 'taskz': looked for taskz.py in {project.folder} and on Python's path. "
        "Go to the folder that holds it, or name that folder with --workdir"
    )
    assert "there is no module 'proj'" in _error(project, "-A", "proj.celery", "worker", "-P", pool)


@pytest.mark.parametrize(
    ("written", "hint"), [("tasks.py", "-A tasks"), ("./tasks.py", "-A tasks"), ("proj/celery.py", "-A proj.celery")]
)
def test_a_file_in_place_of_a_module(written: str, hint: str, project: Project) -> None:
    project.with_common_tasks()
    error = _error(project, "-A", written, "worker")
    assert f"{written!r} is the name of a file" in error
    assert error.endswith(hint)


def test_a_name_that_is_none(project: Project) -> None:
    error = _error(project, "-A", "my-tasks", "worker")
    assert "'my-tasks' is not the name of a module" in error
    assert "-A tasks for tasks.py" in error


@pytest.mark.parametrize("pool", POOLS)
def test_a_module_that_raises_shows_its_own_traceback_then_one_line(pool: str, project: Project) -> None:
    project.write(
        "tasks",
        """
        def connect():
            raise ValueError("no such printer")

        connect()
        """,
    )
    done = project.celeriac("-A", "tasks", "worker", "-P", pool)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].startswith(f'  File "{project.folder}/tasks.py", line 4, in ')  # from the user's first line on
    assert lines[-2:] == [
        "ValueError: no such printer",
        "Error: importing 'tasks' failed: ValueError: no such printer",
    ]
    assert done.stderr.count("Traceback") == 1


@pytest.mark.parametrize("pool", POOLS)
def test_a_module_that_imports_what_is_not_there(pool: str, project: Project) -> None:
    project.write("tasks", "import printers")
    done = project.celeriac("-A", "tasks", "worker", "-P", pool)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "Error: importing 'tasks' failed: No module named 'printers'"
    assert f'File "{project.folder}/tasks.py", line 1' in done.stderr
    assert done.stderr.count("Traceback") == 1


@pytest.mark.parametrize("pool", POOLS)
def test_a_module_with_a_syntax_error(pool: str, project: Project) -> None:
    project.write("tasks", "def add(x, y:\n    return x\n")
    done = project.celeriac("-A", "tasks", "worker", "-P", pool)
    assert done.returncode == 1
    assert "def add(x, y:" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: importing 'tasks' failed: SyntaxError: ")


@pytest.mark.parametrize("pool", POOLS)
def test_a_module_that_ends_the_process(pool: str, project: Project) -> None:
    project.write("tasks", "import sys\nsys.exit(7)\n")
    done = project.celeriac("-A", "tasks", "worker", "-P", pool)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "Error: importing 'tasks' failed: SystemExit: 7"


@pytest.mark.parametrize("command", [["worker"], ["worker", "-P", "solo"], ["status"]])
@pytest.mark.parametrize("setting", ["include", "imports"])
def test_a_module_that_a_setting_names_and_is_not_there(command: list[str], setting: str, project: Project) -> None:
    project.write("tasks", f"from celeriac import Celery\napp = Celery('tasks')\napp.conf.{setting} = ['printing']\n")
    error = _error(project, "-A", "tasks", *command)
    assert error == (
        f"Error: setting {setting} names 'printing', but there is no module 'printing': looked for printing.py in "
        f"{project.folder} and on Python's path"
    )


@pytest.mark.parametrize("pool", POOLS)
def test_an_included_module_that_raises(pool: str, project: Project) -> None:
    project.write("tasks", "from celeriac import Celery\napp = Celery('tasks', include=['printing'])\n")
    project.write("printing", "1 / 0")
    done = project.celeriac("-A", "tasks", "worker", "-P", pool)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "Error: importing 'printing' failed: ZeroDivisionError: division by zero"
    assert done.stderr.count("Traceback") == 1


def test_a_module_without_an_application(project: Project) -> None:
    project.write("tasks", "x = 1")
    error = _error(project, "-A", "tasks", "worker")
    assert error == (
        f"Error: module 'tasks' ({project.folder}/tasks.py) has no Celery application. Make one there, "
        "app = Celery('tasks'), or name where it is: -A tasks:variable"
    )


def test_a_module_with_several_applications(project: Project) -> None:
    project.write("tasks", "from celeriac import Celery\none = Celery('one')\ntwo = Celery('two')\n")
    error = _error(project, "-A", "tasks", "worker")
    assert error == "Error: module 'tasks' has several applications (one, two); name one: -A tasks:one"
    assert "app:       two" in project.celeriac("-A", "tasks:two", "report").stdout


def test_an_attribute_that_is_no_application(project: Project) -> None:
    project.write("tasks", "from celeriac import Celery\nprinter = Celery('tasks')\nx = 1\n")
    error = _error(project, "-A", "tasks:x", "worker")
    assert "tasks:x is not a Celery application: it is 1" in error
    assert error.endswith("; did you mean tasks:printer?")
    assert "there is no such variable" in _error(project, "-A", "tasks:y", "worker")


@pytest.mark.parametrize("name", ["proj", "proj.celery", "proj.celery:app", "proj:app"])
def test_the_ways_to_name_an_application_of_a_package(name: str, project: Project) -> None:
    project.write("proj/celery", "from celeriac import Celery\napp = Celery('proj', include=['proj.tasks'])\n")
    project.write("proj/__init__", "from .celery import app\n" if name == "proj:app" else "")
    project.write("proj/tasks", "from .celery import app\n\n@app.task\ndef add(x, y):\n    return x + y\n")
    report = project.celeriac("-A", name, "report")
    assert report.returncode == 0, report.stderr
    assert f"app:       proj (folder {project.folder})" in report.stdout
    assert "tasks:     proj.tasks.add" in report.stdout


def test_an_application_in_a_variable_of_any_name(project: Project) -> None:
    project.write("tasks", "from celeriac import Celery\nprinter = Celery('press')\n")
    assert "app:       press" in project.celeriac("-A", "tasks", "report").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-A", "tasks", "wroker"], "there is no command 'wroker'; did you mean worker?"),
        (["-A", "tasks", "frobnicate"], "there is no command 'frobnicate'; there are worker, call, result"),
        (
            ["-A", "tasks", "worker", "--concurency", "2"],
            "No such option '--concurency'. Did you mean '--concurrency'?",
        ),
        (["-A", "tasks", "worker", "-c", "0"], "'0' is not a number of processes; write 1 or more"),
        (["-A", "tasks", "worker", "-c", "many"], "'many' is not a number of processes"),
        (["-A", "tasks", "worker", "-P", "gevent"], "celeriac has no gevent pool; write tasks that wait as async def"),
        (["-A", "tasks", "worker", "-P", "eventlet"], "celeriac has no eventlet pool"),
        (["-A", "tasks", "worker", "-P", "forks"], "'forks' is not one of 'prefork', 'processes', 'threads'"),
        (["-A", "tasks", "worker", "-l", "inof"], "'inof' is not one of"),
        (["-A", "tasks", "worker", "-A", "tasks"], "-A belongs before the command: celeriac -A MODULE worker"),
        (["worker", "-A", "tasks"], "-A belongs before the command: celeriac -A MODULE worker"),
        (["-A", "tasks", "worker", "tasks"], "Got unexpected extra argument (tasks)"),
        (["--workdir", "nowhere", "-A", "tasks", "worker"], "'nowhere' does not exist"),
    ],
)
def test_words_that_are_wrong(arguments: list[str], said: str, project: Project) -> None:
    project.with_common_tasks()
    assert said in _error(project, *arguments, status=2)


def test_queues_that_are_none(project: Project) -> None:
    project.with_common_tasks()
    assert "-Q names no queue" in _error(project, "-A", "tasks", "worker", "-Q", " , ")


@pytest.mark.parametrize("pool", POOLS)
def test_a_setting_that_is_nearly_one(pool: str, project: Project) -> None:
    project.with_common_tasks(task_ack_late=True)
    done = project.celeriac("-A", "tasks", "worker", "-P", pool)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "Error: importing 'tasks' failed: ConfigError: there is no setting 'task_ack_late'; "
        "did you mean 'task_acks_late'?"
    )
    assert "app.conf.task_ack_late = True" in done.stderr


def test_a_setting_of_a_wrong_value(project: Project) -> None:
    project.with_common_tasks(worker_concurrency=0)
    done = project.celeriac("-A", "tasks", "worker")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(
        "setting worker_concurrency must be a whole number of at least 1, not 0"
    )


def test_a_setting_that_nobody_knows_is_kept_with_a_warning(project: Project) -> None:
    project.with_common_tasks(beat_max_loop=5)
    with project.worker("-c", 1) as worker:
        worker.wait_for("CeleriacWarning: celeriac has no setting 'beat_max_loop'; it is kept, and has no effect")
        worker.wait_until_ready()
        assert "tasks.py" in worker.log  # the warning names the user's line
    assert "beat_max_loop = 5" in project.celeriac("-A", "tasks", "report").stdout


def test_memory_serves_no_second_process(project: Project) -> None:
    project.with_common_tasks(broker_url=":memory:")
    assert _error(project, "-A", "tasks", "worker") == (
        "Error: :memory: serves one process only: start the worker with -P solo, or name a file in broker_url"
    )
    for command in (["call", "tasks.add", "-a", "[1, 2]"], ["status"], ["dead", "list"]):
        assert _error(project, "-A", "tasks", *command).startswith("Error: :memory: is seen by one process only")
    assert project.celeriac("-A", "tasks", "report").returncode == 0
    with project.worker("-P", "solo") as worker:
        worker.wait_until_ready()
        assert worker.stop() == 0


@pytest.mark.parametrize("pool", POOLS)
def test_a_log_file_that_cannot_be_written(pool: str, project: Project) -> None:
    project.with_common_tasks()
    error = _error(project, "-A", "tasks", "worker", "-P", pool, "-f", "nowhere/worker.log")
    assert "the log file nowhere/worker.log cannot be written: No such file or directory" in error


def test_a_broker_that_this_version_lacks(project: Project) -> None:
    project.with_common_tasks()
    error = _error(project, "-b", "amqp://localhost/", "-A", "tasks", "worker")
    assert "has no amqp:// engine yet" in error
    assert "sqlite://" in error
    assert "did you mean sqlite://?" in _error(project, "-b", "sqlit:///x.db", "-A", "tasks", "worker")
