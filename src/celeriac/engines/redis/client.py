"""The connections of one process to one server, and the scripts on it. Thread-safe; a forked child starts with none."""

from __future__ import annotations

import hashlib
import os
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import hiredis
import msgspec

from celeriac.engines.redis.connection import Connection, check
from celeriac.engines.redis.urls import Address
from celeriac.exceptions import OperationalError

__all__ = ["FIRST_BLOB", "Client"]

FIRST_BLOB = 3

_pack = msgspec.msgpack.Encoder().encode
_clients: weakref.WeakSet[Client] = weakref.WeakSet()


class _Scripts(dict[str, tuple[str, bytes]]):
    """Name -> (SHA1, source), read at first use."""

    def __missing__(self, name: str) -> tuple[str, bytes]:
        folder = files(__package__) / "lua"
        source = (folder / "common.lua").read_bytes() + b"\n" + (folder / f"{name}.lua").read_bytes()
        self[name] = found = (hashlib.sha1(source, usedforsecurity=False).hexdigest(), source)
        return found


_scripts = _Scripts()


class Client:
    """Borrows connections to callers; at most `max_connections` at a time, kept for the next."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._reset()
        _clients.add(self)

    def _reset(self) -> None:
        self._idle: list[tuple[Connection, float]] = []
        self._places = threading.BoundedSemaphore(self.address.max_connections)
        #: Grows with `close`: what was lent before is not kept when it comes back.
        self._closed = 0

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection for some commands. One that failed is closed and not seen again."""
        places, closed = self._places, self._closed
        if not places.acquire(timeout=self.address.timeout_s):
            raise OperationalError(
                f"{self.address}: all {self.address.max_connections} connections of this process were busy for "
                f"{self.address.timeout_s:g} s; raise max_connections"
            )
        try:
            connection = self._idle_one() or Connection(self.address)
            try:
                yield connection
            except BaseException:
                connection.close()
                raise
            if self._closed == closed:
                self._idle.append((connection, time.monotonic()))
            else:
                connection.close()
        finally:
            places.release()

    def _idle_one(self) -> Connection | None:
        """One that still stands: the server may have closed it, or restarted, while it was idle.

        One that was idle for long is not trusted: whatever lies between us and the server may have forgotten it in silence.
        """
        while True:
            try:
                connection, since = self._idle.pop()
            except IndexError:
                return None
            if time.monotonic() - since < self.address.trusted_idle_s and not connection.readable(0):
                return connection
            connection.close()

    def call(self, *command: Any) -> Any:
        """One command."""
        with self.connection() as connection:
            connection.send(*command)
            reply = connection.receive()
        return check(self.address, reply, command[1] if len(command) > 1 else "")

    def script(self, name: str, *request: Any, blobs: Sequence[bytes] = ()) -> Any:
        """Run a script of the `lua` folder with a packed request, in which the nth blob stands as `FIRST_BLOB` + n."""
        sha, source = _scripts[name]
        arguments = ("0", self.address.key_prefix, _pack(request), *blobs)
        with self.connection() as connection:
            connection.send("EVALSHA", sha, *arguments)
            reply = connection.receive()
            if isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT"):
                connection.send("EVAL", source, *arguments)
                reply = connection.receive()
        return check(self.address, reply)

    def close(self) -> None:
        """Close what is idle; the next call connects again."""
        self._closed += 1
        idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    def _after_fork(self) -> None:
        # The parent goes on using these sockets; our copies are closed without a word to the server.
        inherited = self._idle
        self._reset()
        for connection, _ in inherited:
            connection.close()


def _after_fork() -> None:
    for client in list(_clients):
        client._after_fork()


os.register_at_fork(after_in_child=_after_fork)
