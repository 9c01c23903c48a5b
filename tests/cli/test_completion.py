"""`celeriac completion`: what the Tab key offers, asked of a real bash."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from support.project import Client, Project

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


def _tab(project: Project, *words: str) -> list[str]:
    script = f"""
        eval "$(celeriac completion bash)"
        COMP_WORDS=({shlex.join(words)}) COMP_CWORD={len(words) - 1}
        _celeriac_completion celeriac
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    path = f"{Path(project.script).parent}:{project.environment['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        cwd=project.folder,
        env={**project.environment, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@needs_bash
def test_commands_options_and_values_are_completed(project: Project, client: Client) -> None:
    project.with_common_tasks()
    project.write("tasks", "print('a module that talks')\n" + (project.folder / "tasks.py").read_text())
    client.send("add", 1, 2, queue="mails")
    assert _tab(project, "celeriac", "wor") == ["worker"]
    assert _tab(project, "celeriac", "worker", "--time") == ["--time-limit"]
    assert _tab(project, "celeriac", "worker", "-P", "") == ["prefork", "processes", "threads", "asyncio", "solo"]
    assert _tab(project, "celeriac", "-A", "tasks", "call", "tasks.ad") == ["tasks.add"]
    assert _tab(project, "celeriac", "-A", "tasks", "worker", "-Q", "celery,m") == ["celery,mails"]


@needs_bash
def test_an_application_that_fails_offers_nothing(project: Project) -> None:
    project.write("tasks", "1 / 0")
    assert _tab(project, "celeriac", "-A", "tasks", "call", "t") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_each_shell(shell: str, project: Project) -> None:
    done = project.celeriac("completion", shell)
    assert done.returncode == 0
    assert f"_CELERIAC_COMPLETE={shell}_complete" in done.stdout
