"""Tasks that take their process down: what their dead letters tell, and that their handlers are called all the same."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from celeriac.engines.base import DeadLetter
from celeriac.exceptions import TimeLimitExceeded, WorkerLostError
from support.gate import Gate
from support.processes import needs_proc
from support.project import Client, Project
from support.waiting import until

pytestmark = needs_proc

_TASKS = """
import asyncio
import ctypes
import os
import signal
import socket
import threading
import time

from celeriac import Celery, Task
from celeriac.signals import task_failure

app = Celery("tasks", task_soft_time_limit=None)


@app.task
def read_address_zero():
    ctypes.string_at(0)


@app.task
def exit_with_three():
    os._exit(3)


@app.task
def be_killed():
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(time_limit=0.3)
def dream():
    time.sleep(60)


def note(word):
    with open("noted", "a") as file:
        print(word, file=file)


class Telling(Task):
    def on_failure(self, exc, task_id, args, kwargs, einfo):
        note(f"on_failure {type(exc).__name__} {args} {self.request.id == task_id}")

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        note(f"after_return {status}")


@task_failure.connect
def failed(sender, task_id, exception, **facts):
    note(f"task_failure {sender.name} {type(exception).__name__}")


@app.task(base=Telling)
def die(way):
    note("run")
    {"killed": be_killed, "late": dream}[way].run()


@app.task(base=Telling, acks_late=False)
def die_once(way):
    note("run")
    be_killed.run()


@app.task(base=Telling, reject_on_worker_lost=False)
def die_unrepeated(way):
    note("run")
    be_killed.run()


@app.task(base=Telling, retry_on_worker_lost=True, max_retries=1, default_retry_delay=0)
def die_and_be_retried(way):
    note("run")
    be_killed.run()


@app.task(acks_on_timeout=False, time_limit=0.3)
def dream_again():
    note("run")
    time.sleep(60)


@app.task
def errback(task_id):
    note(f"errback {task_id}")


class Poisonous(Task):
    def on_failure(self, *facts):
        note("on_failure")
        os.kill(os.getpid(), signal.SIGKILL)


@app.task(base=Poisonous, time_limit=0.3)
def dream_and_be_killed():
    note("run")
    time.sleep(60)


@app.task
def hold(port):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"{os.getpid()} -\\n".encode())
        connection.recv(1)


@app.task
async def hog(port):
    await asyncio.to_thread(hold.run, port)


@app.task(acks_late=False)
async def quick_once():
    return "done"


@app.task
def devour():
    eaten = []
    while True:
        eaten.append(bytearray(os.urandom(1000) * 1000))


@app.task
def quick():
    return "done"
"""


def write(project: Project, **settings: object) -> None:
    lines = "".join(f"app.conf.{name} = {value!r}\n" for name, value in settings.items())
    project.write("tasks", _TASKS + lines)


def letters(client: Client, count: int) -> dict[str, DeadLetter]:
    """So many dead letters, by the name of their task."""

    def look() -> dict[str, DeadLetter]:
        found = {str(letter.task).removeprefix("tasks."): letter for letter in client.app.broker.dead()}
        return found if len(found) == count else {}

    return until(look, f"{count} messages are buried", 60)


def noted(project: Project) -> list[str]:
    file = project.folder / "noted"
    return file.read_text().splitlines() if file.exists() else []


def test_a_dead_letter_tells_how_each_process_ended(project: Project, client: Client) -> None:
    write(project, max_deliveries=2)
    ways = ["read_address_zero", "exit_with_three", "be_killed", "dream"]
    with project.worker("-c", 2) as worker:
        for way in ways:
            client.send(way)
        found = letters(client, len(ways))
        host = worker.wait_for(r"(celery@\S+) ready")[1]
        assert client.run("quick") == "done"
        worker.wait_for(r"ended with signal 11 \(SIGSEGV\)\nFatal Python error: Segmentation fault")
        assert worker.stop() == 0

    def head(number: int, end: str) -> str:
        moment = r"[\d-]{10}T[\d:.]+\+00:00"
        return rf"{moment} delivery {number}: process \d+ of {host} ended with {end}, peak memory \d+ MiB"

    stack = r"\n(Fatal Python error: .*\n)?\w.*\(most recent call first\):(\n  File .*)+"
    ends = {
        "read_address_zero": (r"signal 11 \(SIGSEGV\)", stack),
        "exit_with_three": ("exit status 3", ""),
        "be_killed": (r"signal 9 \(SIGKILL\)", ""),
    }
    for way, (end, words) in ends.items():
        pattern = "\n\n".join(head(number, end) + words for number in (1, 2))
        assert re.fullmatch(pattern, found[way].detail), found[way].detail
        assert found[way].deliveries == 2
        assert re.search(rf"{end} in each of 2 deliveries", found[way].reason)
    assert re.fullmatch(head(1, r"signal 9 \(SIGKILL\)") + stack, found["dream"].detail), found["dream"].detail
    for way, line in {"read_address_zero": "ctypes.string_at(0)", "dream": "time.sleep(60)"}.items():
        number = (project.folder / "tasks.py").read_text().splitlines().index(f"    {line}") + 1
        last = found[way].detail.splitlines()[-1]
        # Nothing of the worker's own stands below it.
        assert last == f'  File "{project.folder}/tasks.py", line {number} in {way}'
    shown = project.celeriac("-A", "tasks", "dead", "show", found["be_killed"].id).stdout
    assert found["be_killed"].detail in shown
    letter = json.loads(project.celeriac("-A", "tasks", "dead", "show", found["be_killed"].id, "--json").stdout)
    assert letter["detail"] == found["be_killed"].detail
    assert _rows(client, "past") == []


def _rows(client: Client, table: str) -> list[object]:
    with client.app.broker.database.read() as connection:  # type: ignore[attr-defined]
        return connection.execute(f"SELECT * FROM {table}").fetchall()


@pytest.mark.parametrize(
    ("task", "way", "runs", "error"),
    [
        ("die", "late", 1, TimeLimitExceeded),
        ("die", "killed", 3, WorkerLostError),
        ("die_once", "", 1, WorkerLostError),
        ("die_unrepeated", "", 1, WorkerLostError),
    ],
)
def test_the_handlers_of_a_lost_run_are_called_once_by_another_process(
    project: Project, client: Client, task: str, way: str, runs: int, error: type[Exception]
) -> None:
    write(project)
    project.write("tasks", _TASKS + "die.time_limit = 0.3\n")
    with project.worker("-c", 1) as worker:
        result = client.send(task, way, link_error=client.task("errback").s())
        with pytest.raises(error):
            result.get(timeout=30)
        letter = letters(client, 1)[task]
        until(lambda: any("errback" in line for line in noted(project)), "the errback has run")
        assert worker.stop() == 0
    assert noted(project)[:runs] == ["run"] * runs
    assert sorted(noted(project)[runs:]) == [
        "after_return FAILURE",
        f"errback {result.id}",
        f"on_failure {error.__name__} ['{way}'] True",
        f"task_failure tasks.{task} {error.__name__}",
    ]
    assert len(letter.detail.split("\n\n")) == runs
    assert letter.deliveries == runs


def test_handlers_that_take_down_their_process_too_are_given_up(project: Project, client: Client) -> None:
    write(project, max_deliveries=2)
    with project.worker("-c", 1) as worker:
        result = client.send("dream_and_be_killed")
        with pytest.raises(TimeLimitExceeded):
            result.get(timeout=30)
        letter = letters(client, 1)["dream_and_be_killed"]
        assert client.run("quick") == "done"
        assert worker.stop() == 0
    assert noted(project) == ["run", "on_failure", "on_failure"]
    assert len(letter.detail.split("\n\n")) == 3
    with pytest.raises(TimeLimitExceeded):
        result.get(timeout=1)


def test_a_lost_run_is_retried_where_that_is_asked_for(project: Project, client: Client) -> None:
    write(project)
    with project.worker("-c", 1) as worker:
        result = client.send("die_and_be_retried", "")
        with pytest.raises(WorkerLostError):
            result.get(timeout=30)
        letters(client, 1)
        assert worker.stop() == 0
    assert noted(project)[:2] == ["run", "run"]
    assert len([line for line in noted(project) if line.startswith("on_failure")]) == 1


def test_what_passes_its_hard_limit_is_repeated_where_that_is_asked_for(project: Project, client: Client) -> None:
    write(project, max_deliveries=2)
    with project.worker("-c", 1) as worker:
        with pytest.raises(TimeLimitExceeded):
            client.send("dream_again").get(timeout=30)
        letters(client, 1)
        assert worker.stop() == 0
    assert noted(project)[:2] == ["run", "run"]


def test_at_most_once_coroutines_begin_whatever_others_do_with_the_loops_threads(
    project: Project, client: Client, gate: Gate, figure: Callable[[str], None]
) -> None:
    write(project)
    with project.worker("-P", "asyncio", "-c", 1000, level="warning") as worker:
        hogs = client.task("hog").delay_many([(gate.port,)] * 40)  # more than the loop has threads for to_thread
        first = gate.arrival()
        assert client.run("quick_once") == "done"
        began = time.monotonic()
        for result in client.task("quick_once").delay_many([()] * 1000):
            result.get(timeout=60)
        figure(f"1,000 at-most-once coroutines marked, run and committed in {time.monotonic() - began:.2f} s")
        first.open()
        for _ in hogs[1:]:
            gate.arrival().open()
        assert worker.stop() == 0


def test_a_task_that_is_always_interrupted_is_buried_in_the_end(project: Project, client: Client, gate: Gate) -> None:
    write(project, max_interruptions=1, worker_shutdown_grace=0.1)
    result = client.send("hold", gate.port)
    for _ in range(2):
        with project.worker("-c", 1) as worker:
            gate.arrival()
            assert worker.stop() == 0
    with pytest.raises(WorkerLostError, match=r"interrupted 2 times .*worker_shutdown_grace.*max_interruptions"):
        result.get(timeout=10)
    with project.worker("-c", 1):
        letter = letters(client, 1)["hold"]
    assert letter.deliveries == 1
    assert len(letter.detail.split("\n\n")) == 2


@pytest.fixture
def small_cgroup() -> Iterator[Path]:
    """A cgroup that holds no more than 200 MB, where this machine lets us make one."""
    own = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    if "memory" in own:
        parent, limit = Path("/sys/fs/cgroup/memory") / own["memory"].lstrip("/"), "memory.limit_in_bytes"
    else:
        parent, limit = Path("/sys/fs/cgroup") / own.get("", "/").lstrip("/"), "memory.max"
    folder = parent / f"celeriac-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    try:
        try:
            (folder / limit).write_text(str(200 * 2**20))
        except OSError as error:
            pytest.skip(f"no cgroup with a limit can be made here: {error}")
        yield folder
    finally:
        until(lambda: not (folder / "cgroup.procs").read_text(), "the cgroup is empty")
        folder.rmdir()


def test_a_child_that_is_killed_for_want_of_memory_is_said_to_be(
    project: Project, client: Client, small_cgroup: Path
) -> None:
    write(project, max_deliveries=1)
    join = ["sh", "-c", f'echo $$ > {small_cgroup}/cgroup.procs && exec "$@"', "-"]
    with project.worker("-c", 1, before=join) as worker:
        with pytest.raises(WorkerLostError, match=r"signal 9 \(SIGKILL\), killed by the kernel for want of memory"):
            client.send("devour").get(timeout=60)
        letter = letters(client, 1)["devour"]
        assert client.run("quick") == "done"
        assert worker.stop() == 0
    peak = re.search(r"killed by the kernel for want of memory, peak memory (\d+) MiB", letter.detail)
    assert peak is not None
    assert int(peak[1]) > 50
