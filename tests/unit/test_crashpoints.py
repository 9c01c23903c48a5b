"""Named points at which a process kills itself: off, on, at the nth time, once for all processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from celeriac.crashpoints import POINTS, killer, reach

_PROGRAM = """
from celeriac.crashpoints import reach
for number in range(1, 4):
    reach("claimed")
    reach("settled")
    print(number, flush=True)
"""


def _run(**environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    return done.returncode, done.stdout


def test_without_the_variable_a_point_does_nothing() -> None:
    assert _run() == (0, "1\n2\n3\n")
    for point in POINTS:
        reach(point)


@pytest.mark.parametrize(("order", "printed"), [("claimed", ""), ("settled:1", ""), ("settled:3", "1\n2\n")])
def test_a_process_dies_at_the_point_the_nth_time_it_gets_there(order: str, printed: str) -> None:
    assert _run(CELERIAC_CRASH_AT=order) == (-signal.SIGKILL, printed)


def test_of_several_processes_one_dies(tmp_path: Path) -> None:
    once = str(tmp_path / "mark")
    assert _run(CELERIAC_CRASH_AT="claimed:2", CELERIAC_CRASH_ONCE=once) == (-signal.SIGKILL, "1\n")
    assert _run(CELERIAC_CRASH_AT="claimed:2", CELERIAC_CRASH_ONCE=once) == (0, "1\n2\n3\n")


def test_a_point_that_there_is_not_is_an_error() -> None:
    with pytest.raises(ValueError, match="there is no point 'clamed'"):
        killer("clamed", None)
