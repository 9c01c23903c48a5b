"""Both sides of a mixed fleet as real processes on one Redis: Celery 5.7 from `.peers`, and celeriac."""

from __future__ import annotations

import fcntl
import json
import os
import pickle
import select
import shutil
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from celeriac.engines.redis.client import Client as RedisClient
from celeriac.engines.redis.urls import parse
from support.redis_server import RedisServer
from support.worker import WorkerProcess

__all__ = ["CELERIAC", "CELERY", "CELERY_PYTHON", "Database", "Producer", "need_peers"]

CELERY, CELERIAC = "celery", "celeriac"
_HERE = Path(__file__).parent
_ROOT = _HERE.parents[2]
CELERY_PYTHON = _ROOT / ".peers" / "celery" / "bin" / "python"
_PYTHON = {CELERY: CELERY_PYTHON, CELERIAC: Path(sys.executable)}
_ANSWER_TIMEOUT_S = 60.0

#: One task at a time and nothing fetched ahead, so that the order in which Celery serves can be seen.
_SETTINGS: dict[str, dict[str, Any]] = {
    CELERY: {
        "broker_connection_retry_on_startup": True,
        "task_acks_late": True,
        "worker_prefetch_multiplier": 1,
    },
    CELERIAC: {},
}


def need_peers() -> None:
    """Make the peers where one is missing; several test processes may ask at the same time."""
    peers = _ROOT / ".peers"
    peers.mkdir(exist_ok=True)
    with (peers / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = all((peers / name / ".made-of").exists() for name in ("celery", "celery-formats"))
        if made and shutil.which("redis-server") is not None:
            return
        done = subprocess.run(
            [str(_ROOT / "scripts" / "peers")], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, f"scripts/peers failed\n{done.stdout}\n{done.stderr}"


class Database:
    """One database of a Redis, and the processes that share it. `settings` hold for both sides."""

    def __init__(self, redis: RedisServer, number: int, folder: Path, **settings: Any) -> None:
        self.url = redis.url(number)
        self.audit = folder / f"audit-{number}"
        self.audit.touch()
        self._settings = settings
        self._redis = RedisClient(parse(self.url, {}, 10.0))

    def command(self, *words: Any) -> Any:
        """A command to Redis, as the bytes it answers."""
        return self._redis.call(*words)

    def all_keys(self) -> set[str]:
        return {key.decode() for key in self.command("KEYS", "*")}

    def messages(self, key: str) -> list[dict[str, Any]]:
        """The envelopes in a list, the next to be taken first."""
        return [json.loads(raw) for raw in reversed(self.command("LRANGE", key, 0, -1))]

    def document(self, task_id: str) -> str | None:
        raw = self.command("GET", f"celery-task-meta-{task_id}")
        return None if raw is None else raw.decode()

    def lines(self) -> list[list[str]]:
        """What tasks have noted."""
        return [line.split() for line in self.audit.read_text().splitlines()]

    def producer(self, side: str, **settings: Any) -> Producer:
        """To be used in a `with`."""
        return Producer([str(_PYTHON[side]), "client.py"], self._environment(side, settings))

    def worker(self, side: str, *queues: str, **settings: Any) -> WorkerProcess:
        """To be used in a `with`; one task at a time."""
        options = ["-c", "1", "-l", "info", "-Q", ",".join(queues), "-n", f"{side}@fleet"]
        if side == CELERY:
            program = [str(_PYTHON[side]), "-m", "celery"]
            options += ["--without-gossip", "--without-mingle"]
        else:
            program = [str(_PYTHON[side].with_name("celeriac"))]
        command = [*program, "-A", "fleet_tasks", "worker", *options]
        return WorkerProcess(command, _HERE, self._environment(side, settings))

    def celeriac(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One of our commands, run to its end."""
        return subprocess.run(
            [str(_PYTHON[CELERIAC].with_name("celeriac")), "-A", "fleet_tasks", *arguments],
            cwd=_HERE,
            env=self._environment(CELERIAC, {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_ANSWER_TIMEOUT_S,
            check=False,
        )

    def close(self) -> None:
        self._redis.close()

    def _environment(self, side: str, settings: dict[str, Any]) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.audit.parent),
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "FLEET_SIDE": side,
            "FLEET_BROKER": self.url,
            "FLEET_BACKEND": self.url,
            "FLEET_SETTINGS": json.dumps({**_SETTINGS[side], **self._settings, **settings}),
            "FLEET_AUDIT": str(self.audit),
        }


class Producer:
    """A process that sends tasks and asks for their results; client.py has the functions. `with Producer(...)`."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._command = command
        self._environment = environment
        self._asking = threading.Lock()

    def send(self, task: str, *args: Any, **options: Any) -> str:
        """`options` are those of apply_async, and `kwargs`."""
        answer: str = self.ask("send", task, args, **options)
        return answer

    def run(self, task: str, *args: Any, **options: Any) -> Any:
        """Send it and wait for its value."""
        return self.get(self.send(task, *args, **options))

    def get(self, task_id: str, **options: Any) -> Any:
        return self.ask("get", task_id, **options)

    def outcome(self, task_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.ask("outcome", task_id)
        return answer

    def look(self, task_id: str) -> tuple[str, Any]:
        state, info = self.ask("look", task_id)
        return state, info

    def ask(self, function: str, *args: Any, **kwargs: Any) -> Any:
        """Have a function of client.py called there."""
        with self._asking:
            packed = pickle.dumps((function, args, kwargs))
            assert self._process.stdin is not None
            self._process.stdin.write(struct.pack(">I", len(packed)) + packed)
            self._process.stdin.flush()
            done, answer = self._answer()
        assert done, f"in {' '.join(self._command)}:\n{answer}"
        return answer

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            cwd=_HERE,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._answers = self._process.stdout.fileno()
        self._answer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()

    def _answer(self) -> Any:
        deadline = time.monotonic() + _ANSWER_TIMEOUT_S
        (size,) = struct.unpack(">I", self._read(4, deadline))
        return pickle.loads(self._read(size, deadline))

    def _read(self, size: int, deadline: float) -> bytes:
        data = b""
        while len(data) < size:
            readable, _, _ = select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))
            assert readable, f"{' '.join(self._command)} does not answer"
            more = os.read(self._answers, size - len(data))
            assert more, f"{' '.join(self._command)} has ended"
            data += more
        return data
