"""A private master with two replicas, and three sentinels that watch over them, as real processes."""

from __future__ import annotations

import shutil
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from support.redis_server import RedisServer, free_port, words_of
from support.waiting import until

__all__ = ["MASTER_NAME", "SentinelSet"]

MASTER_NAME = "mymaster"
_QUORUM = 2


class SentinelSet:
    """`with SentinelSet(folder) as sentinels:`; `sentinels.url()` leads to whichever server is the master.

    A master that is silent for `down_after_ms` is failed over. `password` is that of the Redis servers,
    `sentinel_password` that of the sentinels.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        replicas: int = 2,
        down_after_ms: int = 700,
        password: str = "",
        sentinel_password: str = "",
    ) -> None:
        secret = ["--requirepass", password, "--masterauth", password] if password else []
        # A replica that connects has the whole of the data after milliseconds, not after the usual five seconds.
        quick = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"]
        self.servers = [
            RedisServer(folder / f"server-{number}", *secret, *quick, *options) for number in range(1 + replicas)
        ]
        self.ports = [free_port() for _ in range(3)]
        self._folder = folder
        self._down_after_ms = down_after_ms
        self._password = password
        self._sentinel_password = sentinel_password
        self._sentinels: list[subprocess.Popen[bytes]] = []
        self._stack = ExitStack()

    def url(self, database: int = 0) -> str:
        """With the password of the Redis servers; the sentinels' own is for `sentinel_kwargs`."""
        login = f":{self._password}@" if self._password else ""
        return ";".join(f"sentinel://{login}127.0.0.1:{port}/{database}" for port in self.ports)

    @property
    def master(self) -> RedisServer:
        """The server that the sentinels call the master."""
        port = self._ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME)[-1]
        return next(server for server in self.servers if str(server.port) == port)

    def wait_for_another_than(self, old: RedisServer, timeout_s: float = 30.0) -> RedisServer:
        """The new master, when the sentinels name it."""
        until(lambda: self.master is not old, "the sentinels name another master", timeout_s)
        return self.master

    def fail_over(self) -> RedisServer:
        """Have a replica promoted though the master lives; returns the new master."""
        old = self.master
        until(lambda: self._ask("SENTINEL", "FAILOVER", MASTER_NAME) == ["OK"], "the sentinels start a failover")
        return self.wait_for_another_than(old)

    def wait_until_complete(self) -> None:
        """All replicas follow the master and every sentinel knows of all others."""
        until(lambda: all(map(self._knows, self.ports)), "the sentinels know of each other and of the replicas")
        count = len(self.servers) - 1
        until(lambda: self._words(self.master.port, "WAIT", str(count), "100") == [str(count)], "the replicas follow")

    def kill_sentinel(self, number: int) -> None:
        self._sentinels[number].kill()
        self._sentinels[number].wait()

    def _knows(self, port: int) -> bool:
        flat = self._words(port, "SENTINEL", "MASTER", MASTER_NAME)
        facts = dict(zip(flat[::2], flat[1::2], strict=False))
        return facts.get("num-slaves") == str(len(self.servers) - 1) and facts.get("num-other-sentinels") == "2"

    def _ask(self, *words: str) -> list[str]:
        """What the first sentinel says that answers."""
        return next((answer for port in self.ports if (answer := self._words(port, *words))), [])

    def _words(self, port: int, *words: str) -> list[str]:
        password = self._password if port not in self.ports else self._sentinel_password
        return words_of(port, *words, password=password)

    def _start_sentinel(self, number: int) -> None:
        folder = self._folder / f"sentinel-{number}"
        folder.mkdir(parents=True)
        lines = [
            f"port {self.ports[number]}",
            "bind 127.0.0.1",
            f"dir {folder}",
            f"logfile {folder}/sentinel.log",
            f"sentinel monitor {MASTER_NAME} 127.0.0.1 {self.servers[0].port} {_QUORUM}",
            f"sentinel down-after-milliseconds {MASTER_NAME} {self._down_after_ms}",
            f"sentinel failover-timeout {MASTER_NAME} 3000",
            f"sentinel parallel-syncs {MASTER_NAME} 2",
        ]
        if self._password:
            lines.append(f"sentinel auth-pass {MASTER_NAME} {self._password}")
        if self._sentinel_password:
            lines += [f"requirepass {self._sentinel_password}", f"sentinel sentinel-pass {self._sentinel_password}"]
        configuration = folder / "sentinel.conf"
        configuration.write_text("\n".join(lines) + "\n")
        program = shutil.which("redis-server")
        assert program is not None, "redis-server is missing: run scripts/servers"
        command = [program, str(configuration), "--sentinel"]
        self._sentinels.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True))

    def __enter__(self) -> Self:
        try:
            for server in self.servers:
                self._stack.enter_context(server)
            for replica in self.servers[1:]:
                answer = self._words(replica.port, "REPLICAOF", "127.0.0.1", str(self.servers[0].port))
                assert answer == ["OK"], answer
            for number in range(len(self.ports)):
                self._start_sentinel(number)
            self.wait_until_complete()
        except BaseException:
            self._end()
            raise
        return self

    def _end(self) -> None:
        for sentinel in self._sentinels:
            sentinel.send_signal(signal.SIGKILL)
            sentinel.wait(timeout=20)
        self._stack.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
