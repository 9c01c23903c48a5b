"""The crash suite with the promised numbers: `make crash`.

One round of everything, then rounds of what is left to chance, with new seeds, until CELERIAC_CRASH_MINUTES (30) are over.
At the end a table of what each test measured. Arguments go to pytest (`-k swallowed`, `-n 1`); CELERIAC_SEED repeats a seed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

_ROOT = Path(__file__).parent.parent
_SUITE = "tests/crash"
_BY_CHANCE = [f"{_SUITE}/test_{name}.py" for name in ("kills", "outages", "malformed")]


def main(arguments: list[str]) -> int:
    deadline = time.monotonic() + 60 * float(os.environ.get("CELERIAC_CRASH_MINUTES", "30"))
    passed: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    figures: dict[str, str] = {}
    tests = [_SUITE]
    while True:
        for name, ok, figure in _round([*tests, *arguments]):
            (passed if ok else failed)[name] += 1
            if figure is not None:
                figures[name] = figure
        if time.monotonic() >= deadline:
            break
        tests = [test for test in _BY_CHANCE if (_ROOT / test).exists()]
    _show(passed, failed, figures)
    return 1 if failed or not passed else 0


def _round(arguments: list[str]) -> list[tuple[str, bool, str | None]]:
    """Each test with whether it passed and its figure; pytest itself shows what failed, with its seed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        environment = {"CELERIAC_CRASH": "long", "CELERIAC_FUZZ_S": "60", **os.environ}
        command = [sys.executable, "-m", "pytest", "-n", "3", "--dist", "worksteal", f"--junitxml={report}", *arguments]
        subprocess.run(command, cwd=_ROOT, env=environment, stdin=subprocess.DEVNULL, check=False)
        if not report.exists():
            return []
        return [_result(case) for case in ElementTree.parse(report).iter("testcase")]


def _result(case: ElementTree.Element) -> tuple[str, bool, str | None]:
    figures = [one.get("value") for one in case.iter("property") if one.get("name") == "figure"]
    ok = case.find("failure") is None and case.find("error") is None
    return case.get("name", "?"), ok, figures[-1] if figures else None


def _show(passed: Counter[str], failed: Counter[str], figures: dict[str, str]) -> None:
    print("\nThe crash suite: times passed, times failed, the test, its last figure\n")
    for name in sorted(passed | failed, key=lambda name: (name not in figures, name)):
        print(f"{passed[name]:4} {failed[name] or '':>4}  {name}")
        if name in figures:
            print(f"{'':12}{figures[name]}")
    print(f"\n{passed.total()} passed, {failed.total()} failed")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
