"""What the released Celery says to the same input: a script run by the Python of `.peers/celery`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

__all__ = ["ask_celery"]

_PYTHON = Path(__file__).parents[2] / ".peers" / "celery" / "bin" / "python"


def ask_celery(script: str, given: Any = None) -> Any:
    """Run `script`, which finds `given` and sets `answer`, both plain data. Skips the test where there is no Celery."""
    if not _PYTHON.exists():
        pytest.skip("there is no Celery to compare with: run scripts/peers")
    code = f"import json, sys\ngiven = json.load(sys.stdin)\n{script}\nprint('\\n' + json.dumps(answer))"
    done = subprocess.run(
        [str(_PYTHON), "-c", code], input=json.dumps(given), capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
