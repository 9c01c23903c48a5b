"""Users' type checkers know what tasks take and return: the files beside this one, checked by mypy and by pyright."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
_FILES = [_HERE / name for name in ("calls.py", "classes.py", "mistakes.py")]

Places = dict[tuple[str, int], str]


def _marked() -> set[tuple[str, int]]:
    return {
        (path.name, number)
        for path in _FILES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if line.endswith("# WRONG")
    }


def _run(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=_ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr  # some lines are wrong
    return done.stdout


def _mypy(_folder: Path) -> Places:
    lines = _run("mypy", *map(str, _FILES)).splitlines()
    found = [re.match(r"(.*):(\d+): error: (.*)", line) for line in lines]
    return {(Path(match[1]).name, int(match[2])): match[3] for match in found if match}


def _pyright(folder: Path) -> Places:
    config = folder / "pyrightconfig.json"
    config.write_text(
        json.dumps(
            {
                "include": list(map(str, _FILES)),
                "extraPaths": [str(_ROOT / "src")],
                "typeCheckingMode": "strict",  # pyright's own; "recommended" is what basedpyright adds
                "pythonVersion": "3.11",
            }
        )
    )
    said = json.loads(_run("basedpyright", "--outputjson", "-p", str(config)))
    return {
        (Path(one["file"]).name, one["range"]["start"]["line"] + 1): one["message"]
        for one in said["generalDiagnostics"]
        if one["severity"] == "error"
    }


@pytest.mark.parametrize("check", [_mypy, _pyright])
def test_type_checkers_know_the_public_names_and_find_mistakes(check: Callable[[Path], Places], tmp_path: Path) -> None:
    found = check(tmp_path)
    assert {place: text for place, text in found.items() if place not in _marked()} == {}
    assert _marked() - found.keys() == set()


def test_the_package_says_that_it_is_typed() -> None:
    assert (_ROOT / "src" / "celeriac" / "py.typed").exists()
