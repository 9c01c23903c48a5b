"""What a worker costs when it has nothing to do, and how soon it starts when it has."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from support.processes import cpu_seconds, machine_load, needs_proc, tree_of
from support.project import Client, Project

Figure = Callable[[str], None]


@needs_proc
def test_an_idle_worker_uses_less_than_a_hundredth_of_a_processor(
    project: Project, client: Client, figure: Figure
) -> None:
    project.with_common_tasks()
    with project.worker("-c", 4) as worker:
        worker.wait_until_ready()
        assert client.run("add", 1, 1) == 2
        processes = tree_of(worker.pid)
        assert len(processes) == 6
        began, used = time.monotonic(), cpu_seconds(processes)
        time.sleep(5)
        share = (cpu_seconds(processes) - used) / (time.monotonic() - began)
    figure(f"{share:.2%} of a processor, 6 processes together")
    assert share < 0.01


def test_a_task_starts_within_milliseconds_of_its_call(project: Project, client: Client, figure: Figure) -> None:
    project.with_common_tasks()
    with project.worker("-c", 2, level="warning") as worker:
        worker.wait_for("tasks.moment")
        client.run("moment")
        with machine_load() as load:
            waits = []
            for _ in range(40):
                time.sleep(0.03)  # so that the worker is at rest again
                called = time.time()
                waits.append(client.run("moment") - called)
    median = statistics.median(waits)
    figure(f"from call to start {median * 1000:.2f} ms (median of 40; most {max(waits) * 1000:.1f})")
    assert median < (0.005 if load.at_rest else 0.5)


def test_importing_celeriac_costs_little(project: Project, figure: Figure) -> None:
    """A program that only sends tasks pays this at its start."""
    programs: dict[str, list[float]] = {"pass": [], "import celeriac": [], "from celeriac import Celery": []}
    with machine_load() as load:
        for _ in range(7):
            for code, times in programs.items():
                began = time.perf_counter()
                project.python(code, PYTHONDONTWRITEBYTECODE="")  # as users run it: compiled once
                times.append(time.perf_counter() - began)
    bare = programs.pop("pass")
    for code, times in programs.items():
        above = statistics.median(times) - statistics.median(bare)
        figure(f"{code!r}: {above * 1000:.0f} ms above Python's own start (median of 7)")
        assert min(times) - min(bare) < (0.035 if load.at_rest else 0.6)


def test_importing_celeriac_imports_no_engine(project: Project) -> None:
    code = "import sys; from celeriac import Celery; Celery('a'); print([m for m in sys.modules if 'sqlite' in m])"
    assert project.python(code).stdout == "[]\n"
