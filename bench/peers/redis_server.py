"""A Redis for one measurement: empty, on a free loopback port, ended with the block."""

from __future__ import annotations

import contextlib
import shutil
import socket
import time
from typing import TYPE_CHECKING

from bench.processes import BenchError, clean_environment, run_until_left, tail

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["private_redis", "redis_store"]

START_TIMEOUT_S = 10.0


@contextlib.contextmanager
def private_redis(folder: Path) -> Iterator[tuple[str, int]]:
    """Gives the URL and the process. Nothing is written to disk, which is Redis at its fastest."""
    program = shutil.which("redis-server")
    if program is None:
        raise BenchError("redis-server is missing: run scripts/peers")
    port = _free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    log = folder / "redis.log"
    with run_until_left(command, log, folder, clean_environment({})) as process:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"redis-server did not start on port {port}:\n{tail(log)}")
            time.sleep(0.01)
        yield f"redis://127.0.0.1:{port}/0", process.pid


@contextlib.contextmanager
def redis_store(folder: Path) -> Iterator[Mapping[str, str]]:
    """A peer's store: its tasks find the server in BENCH_REDIS."""
    with private_redis(folder) as (url, pid):
        yield {"BENCH_REDIS": url, "RQ_REDIS_URL": url, "BENCH_REDIS_PID": str(pid)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(7) == b"+PONG\r\n"
    except OSError:
        return False
