"""A private Redis: empty, on a free port of the loopback, ended by its pid. It can be killed and started again."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import hiredis

__all__ = ["RedisServer", "free_port", "words_of"]

_START_TIMEOUT_S = 15.0


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def words_of(port: int, *words: str, password: str = "") -> list[str]:
    """The answer to a command as a flat list of words, an error as one; empty when nobody is there."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5.0) as connection:
            reader = hiredis.Reader(encoding="utf-8", errors="replace")
            for command in [("AUTH", password), words] if password else [words]:
                connection.sendall(hiredis.pack_command(command))
                while (answer := reader.gets()) is False:
                    data = connection.recv(65536)
                    if not data:
                        return []
                    reader.feed(data)
    except OSError:
        return []
    return [] if answer is None else [str(word) for word in (answer if isinstance(answer, list) else [answer])]


class RedisServer:
    """`with RedisServer(folder) as redis:`; `redis.url(database)` leads to it. `*options` are its command line's."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.port = free_port()
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: int = 0) -> str:
        return f"redis://127.0.0.1:{self.port}/{database}"

    def start(self, *more_options: str) -> None:
        self.launch(*more_options)
        try:
            self.wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def launch(self, *more_options: str) -> None:
        """Start the process; it may have to load its data before it serves."""
        program = shutil.which("redis-server")
        assert program is not None, "redis-server is missing: run scripts/servers"
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        command += ["--logfile", str(self.folder / "redis.log"), *self._options, *more_options]
        self._process = subprocess.Popen(command, start_new_session=True)

    def wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self.call("PING").startswith((b"+PONG", b"-NOAUTH")):
            assert self._process.poll() is None, (self.folder / "redis.log").read_text()
            assert time.monotonic() < deadline, "redis-server does not answer"
            time.sleep(0.01)

    def kill(self) -> None:
        """As a power cut would: nothing is flushed."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """The process is stopped: connections stand and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def call(self, *words: str) -> bytes:
        """A command with a one-line answer; empty when nobody is there."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5.0) as connection:
                parts = [f"*{len(words)}\r\n".encode()]
                parts += [f"${len(word.encode())}\r\n{word}\r\n".encode() for word in words]
                connection.sendall(b"".join(parts))
                return connection.recv(65536).split(b"\r\n")[0]
        except OSError:
            return b""

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(number)
            process.wait(timeout=20)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._end(signal.SIGKILL)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(signal.SIGKILL)
