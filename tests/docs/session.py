"""An interactive Python, for the test of a page to type into: run as a program, it speaks JSON lines.

It is what `python -m asyncio` is to a reader: statements may await.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import json
import sys
import traceback
from types import CodeType
from typing import Any


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr
    sys.path.insert(0, "")
    space: dict[str, Any] = {"__name__": "__main__"}
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            asked = json.loads(line)
            answers.write(json.dumps(_typed(runner, space, asked["source"], asked["mode"])) + "\n")
            answers.flush()


def _typed(runner: asyncio.Runner, space: dict[str, Any], source: str, mode: str) -> dict[str, Any]:
    """What it prints, and whether it raised. `mode` is exec, or single for one statement whose value is shown."""
    printed, raised = io.StringIO(), False
    try:
        code = compile(source, "<stdin>", mode, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        with contextlib.redirect_stdout(printed):
            _run(runner, space, code)
    except BaseException as error:
        raised = True
        last = "".join(traceback.format_exception_only(error))
        printed.write(f"Traceback (most recent call last):\n  ...\n{last}")
        traceback.print_exc()
    return {"printed": printed.getvalue(), "raised": raised}


def _run(runner: asyncio.Runner, space: dict[str, Any], code: CodeType) -> None:
    # Not exec(): a code object that awaits must give back its coroutine.
    value = eval(code, space)
    if inspect.iscoroutine(value):
        runner.run(value)


if __name__ == "__main__":
    main()
