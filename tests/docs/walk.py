"""Doing what a page says: its files in a folder, its sessions and commands one after the other, real workers."""

from __future__ import annotations

import doctest
import json
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from docs.blocks import Block, Command, commands
from docs.shown import Ids, comes_in_order, same
from support.project import Project
from support.redis_server import RedisServer
from support.waiting import until
from support.worker import WorkerProcess

__all__ = ["Walk"]

_REDIS = "localhost:6379"
_WORKER = re.compile(r"celeriac\b.* worker\b")
#: What they print changes while workers work, and asking again changes nothing.
_LOOKS = re.compile(r"celeriac .*\b(status|result|dead list|dead show)\b")
#: Its exit status says what its output says.
_RESULT = re.compile(r"celeriac .*\bresult\b")
_RESULT_STATUS = {"SUCCESS": 0, "FAILURE": 1, "REVOKED": 1}
_LONGEST_COMMAND_S = 60.0


class Walk:
    """One project of a page, to be used in a `with`."""

    def __init__(self, blocks: Sequence[Block], folder: Path) -> None:
        self._blocks = blocks
        self._project = Project(folder)
        self._project.environment["PATH"] = f"{Path(sys.executable).parent}:{self._project.environment['PATH']}"
        self._ids = Ids()
        self._resources = ExitStack()
        self._worker: WorkerProcess | None = None
        self._session: subprocess.Popen[str] | None = None
        self._redis = ""
        self._wrong: list[str] = []

    def go(self) -> None:
        """All of it, in order; raises `AssertionError` with all that is not as shown."""
        if any(_REDIS in block.text for block in self._blocks):
            server = self._resources.enter_context(RedisServer(self._project.folder / ".redis"))
            self._redis = f"127.0.0.1:{server.port}"
        for block in self._blocks:
            if block.kind == "file":
                path = self._project.folder / block.detail
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("a", encoding="utf-8") as file:
                    file.write(self._real(block.text))
        steps = {"python": self._python, "pycon": self._pycon, "console": self._console, "log": self._log}
        for block in self._blocks:
            if block.kind in steps:
                steps[block.kind](block)
        assert not self._wrong, "\n\n".join(self._wrong)

    # ── Python ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _python(self, block: Block) -> None:
        answer = self._type(block.text, "exec")
        if answer["raised"]:
            self._wrong.append(f"{block.place} raises:\n{answer['printed']}")

    def _pycon(self, block: Block) -> None:
        for example in doctest.DocTestParser().get_examples(block.text, block.place):
            printed = self._type(example.source, "single")["printed"]
            self._compare(f"{block.place}: >>> {example.source.strip()}", example.want, printed)

    def _type(self, source: str, mode: str) -> dict[str, Any]:
        if self._session is None:
            program = str(Path(__file__).with_name("session.py"))
            self._session = self._resources.enter_context(
                subprocess.Popen(
                    [sys.executable, program],
                    cwd=self._project.folder,
                    env=self._project.environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
        assert self._session.stdin is not None
        assert self._session.stdout is not None
        self._session.stdin.write(json.dumps({"source": self._real(source), "mode": mode}) + "\n")
        self._session.stdin.flush()
        answer: dict[str, Any] = json.loads(
            self._session.stdout.readline() or '{"printed": "it ended", "raised": true}'
        )
        return answer

    # ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _console(self, block: Block) -> None:
        given = list(commands(block))
        for command in given:
            status = int(block.detail or 0) if command is given[-1] else 0
            if _RESULT.search(command.line):
                status = _RESULT_STATUS.get(command.shown.partition(":")[0], 2)
            if _WORKER.search(command.line) and status == 0 and "--help" not in command.line:
                self._start_worker(block, command)
            elif _LOOKS.search(command.line):
                self._look(block, command, status)
            else:
                done = self._run(command)
                self._check(block, command, status, done)

    def _start_worker(self, block: Block, command: Command) -> None:
        if self._worker is not None:
            self._worker.stop()
        line = ["bash", "-c", f"exec {self._real(command.line)}"]
        self._worker = self._resources.enter_context(
            WorkerProcess(line, self._project.folder, self._project.environment)
        )
        # Known to the store when its banner is out; "ready." is in the log at the level info only.
        self._worker.wait_for(r"ready\.$" if "info" in command.line.lower() else r"^ *(serves|queues?)\b.*$|ready\.$")
        shown, stopped, _ = command.shown.partition("^C\n")
        self._wait_for_log(block, shown)
        if stopped:
            assert self._worker.stop(signal.SIGINT) == 0
            self._wait_for_log(block, command.shown.replace("^C\n", ""))
            self._worker = None

    def _look(self, block: Block, command: Command, status: int) -> None:
        done = self._run(command)
        if not (done.returncode == status and same(command.shown, self._as_shown(_printed(done)))):

            def look() -> bool:
                nonlocal done
                done = self._run(command)
                return done.returncode == status and same(command.shown, self._as_shown(_printed(done)))

            try:
                until(look, "", timeout_s=15.0, every_s=0.1)
            except AssertionError:
                pass  # told better below
        self._check(block, command, status, done)

    def _run(self, command: Command) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", self._real(command.line)],
            cwd=self._project.folder,
            env=self._project.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_LONGEST_COMMAND_S,
            check=False,
        )

    def _check(self, block: Block, command: Command, status: int, done: subprocess.CompletedProcess[str]) -> None:
        what = f"{block.place}: $ {command.line}"
        self._compare(what, command.shown, _printed(done))
        if done.returncode != status:
            self._wrong.append(f"{what}\nends with status {done.returncode}")

    def _log(self, block: Block) -> None:
        assert self._worker is not None, f"{block.place}: no worker runs"
        self._wait_for_log(block, block.text)

    def _wait_for_log(self, block: Block, shown: str) -> None:
        worker = self._worker
        assert worker is not None
        shown = self._real(shown)
        try:
            until(lambda: comes_in_order(shown, self._as_shown(worker.log)), "", timeout_s=15.0)
        except AssertionError:
            self._wrong.append(f"{block.place}: the log lacks these lines, in this order:\n{shown}\n{worker.log}")

    # ── what is shown and what is so ─────────────────────────────────────────────────────────────────────────────────

    def _real(self, text: str) -> str:
        return self._ids.real(text).replace(_REDIS, self._redis or _REDIS)

    def _as_shown(self, text: str) -> str:
        return text.replace(str(self._project.folder), "/home/me/project").replace(self._redis or _REDIS, _REDIS)

    def _compare(self, what: str, shown: str, printed: str) -> None:
        printed = self._as_shown(printed)
        if not same(self._as_shown(shown), printed):
            self._wrong.append(f"{what}\n----- the page shows\n{shown}----- there is\n{printed}-----")
        self._ids.learn(shown, printed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None and self._session.stdin is not None:
            self._session.stdin.close()
        self._resources.__exit__(kind, error, trace)


def _printed(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout
