"""Which runs there were: every run of a `work` task writes a line to one file when it starts and when it ends.

One write per line to a file opened for appending: what a process wrote is there although it was killed right after.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from support.waiting import until

__all__ = ["TASKS", "Audit", "Runs"]

TASKS = """
import os
import time

from celeriac import Celery

app = Celery("tasks")


def note(*words):
    file = os.open(os.environ["AUDIT"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, " ".join(map(str, words)).encode() + b"\\n")
    os.close(file)


@app.task(bind=True)
def work(self, number):
    note("start", number, os.getpid(), int(self.request.delivery_info["redelivered"]))
    time.sleep(0.005)
    note("end", number, os.getpid(), 0)
    return number
"""


@dataclass
class Runs:
    """The lines of an audit file."""

    #: Task number -> the processes that started it, in order.
    started: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    ended: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    #: Process -> the tasks that it started, in order.
    by_process: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    #: Tasks whose run was told that an earlier one had crashed.
    redelivered: set[int] = field(default_factory=set)

    def begun(self, numbers: range) -> int:
        """How many of these tasks have begun."""
        return sum(number in self.started for number in numbers)

    @property
    def repeated(self) -> set[int]:
        return {number for number, processes in self.started.items() if len(processes) > 1}


class Audit:
    """The file. `environment` is what a worker needs to write it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "audit"
        self._path.touch()
        self.environment = {"AUDIT": str(self._path)}

    def read(self) -> Runs:
        runs = Runs()
        whole, _, _ = self._path.read_text().rpartition("\n")  # the last line may be seen while it is written
        for line in whole.splitlines():
            word, number, process, redelivered = line.split()
            if word == "start":
                runs.started[int(number)].append(int(process))
                runs.by_process[int(process)].append(int(number))
                if redelivered == "1":
                    runs.redelivered.add(int(number))
            else:
                runs.ended[int(number)].append(int(process))
        return runs

    def wait_until(self, reached: Callable[[Runs], bool], what: str) -> Runs:
        """Read until it is so."""

        def look() -> Runs | None:
            runs = self.read()
            return runs if reached(runs) else None

        runs = until(look, what, every_s=0.002)
        assert runs is not None
        return runs
