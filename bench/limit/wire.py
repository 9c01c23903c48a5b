"""A plain socket to Redis, with hiredis: the least that a command can cost from Python."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit

import hiredis

__all__ = ["Wire"]

_CHUNK = 1 << 18


class Wire:
    """One connection. Not thread-safe."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 6379))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader()

    def call(self, *command: Any) -> Any:
        """The reply; raises what Redis replies with as an error."""
        self._socket.sendall(hiredis.pack_command(command))
        return self.read()

    def call_all(self, *commands: tuple[Any, ...]) -> list[Any]:
        """The replies to commands that are sent together."""
        self._socket.sendall(b"".join([hiredis.pack_command(command) for command in commands]))
        return [self.read() for _ in commands]

    def read(self) -> Any:
        """What comes next: a reply, or a message that was subscribed to."""
        while (reply := self._reader.gets()) is False:
            data = self._socket.recv(_CHUNK)
            if not data:
                raise ConnectionError("Redis has closed the connection")
            self._reader.feed(data)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def close(self) -> None:
        self._socket.close()
