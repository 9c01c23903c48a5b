"""The connections of one process to one server, and the scripts on it. Thread-safe; a forked child starts with none."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any

import hiredis

from celeriac.crashpoints import reach
from celeriac.engines.redis.connection import Connection, check, has_moved
from celeriac.engines.redis.scripts import evaluation
from celeriac.engines.redis.sentinel import connect
from celeriac.engines.redis.urls import Address
from celeriac.exceptions import OperationalError

__all__ = ["Client"]

#: The server says that replicas were too slow up to a tenth of a second late, and its answer must still come in time.
_ANSWER_S = 0.25

_clients: weakref.WeakSet[Client] = weakref.WeakSet()


class Client:
    """Borrows connections to callers; at most `max_connections` at a time, kept for the next."""

    def __init__(self, address: Address, keys: tuple[str, ...] = ()) -> None:
        self.address = address
        #: The keys that scripts name; a cluster sees by them where a script belongs.
        self.keys = keys
        self._reset()
        _clients.add(self)

    def _reset(self) -> None:
        self._idle: list[tuple[Connection, float]] = []
        #: A place for each connection that may be lent. (A semaphore is Python code, and costs ten times as much.)
        self._places: SimpleQueue[None] = SimpleQueue()
        for _ in range(self.address.max_connections):
            self._places.put(None)
        #: Grows with `close`: what was lent before is not kept when it comes back.
        self._closed = 0
        #: Grows with every connection that ended without our closing it, or was too old to be trusted.
        self.breaks = 0

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection for some commands. One that failed is closed and not seen again."""
        places, closed = self._places, self._closed
        try:
            places.get(timeout=self.address.timeout_s)
        except Empty:
            raise OperationalError(
                f"{self.address}: all {self.address.max_connections} connections of this process were busy for "
                f"{self.address.timeout_s:g} s; raise max_connections"
            ) from None
        try:
            connection = self._idle_one() or connect(self.address)
            try:
                yield connection
            except BaseException:
                connection.close()
                self._distrust()
                raise
            if self._closed == closed:
                self._idle.append((connection, time.monotonic()))
            else:
                connection.close()
        finally:
            places.put(None)

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
            self.breaks += 1

    def _distrust(self) -> None:
        """Where one connection failed, the others to the same server would, each after a time-out of its own."""
        self.breaks += 1
        idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    @property
    def idle(self) -> int:
        """How many connections are kept for the next call."""
        return len(self._idle)

    def call(self, *command: Any) -> Any:
        """One command."""
        with self.connection() as connection:
            connection.send(*command)
            reply = self._here(connection.receive())
        return check(self.address, reply, command[1] if len(command) > 1 else "")

    def script(self, name: str, *request: Any, blobs: Sequence[bytes | str] = (), confirmed: bool = False) -> Any:
        """Run a script of the `lua` folder with a packed request, in which the nth blob stands as `FIRST_BLOB` + n.

        With `confirmed` it also waits until `publish_replicas` replicas have what the script wrote; raises
        `OperationalError` when they have not in time, though the script has run.
        """
        by_hash, whole = evaluation(name, self.keys, self.address.key_prefix, request, blobs)
        with self.connection() as connection:
            reach("redis-sending")
            connection.send(*by_hash)
            reach("redis-sent")
            reply = self._answer(connection, whole, confirmed)
        return check(self.address, reply)

    def scripts(
        self, calls: Iterable[tuple[str, tuple[Any, ...], Sequence[bytes]]], *, confirmed: bool = False
    ) -> Iterator[Any]:
        """Run scripts, each with its request and its blobs, over one connection, and yield the answers.

        The next request is written while the server is at the one before, and sent when that is answered.
        """
        with self.connection() as connection:
            under_way: tuple[Any, ...] | None = None
            reply: Any = None
            for name, request, blobs in calls:
                by_hash, whole = evaluation(name, self.keys, self.address.key_prefix, request, blobs)
                packed = hiredis.pack_command(by_hash)
                if under_way is not None:
                    reply = self._answer(connection, under_way, confirmed)
                    if isinstance(reply, hiredis.ReplyError):
                        break
                    yield reply
                reach("redis-sending")
                connection.send_packed(packed)
                reach("redis-sent")
                under_way = whole
            else:
                if under_way is not None:
                    reply = self._answer(connection, under_way, confirmed)
        if under_way is not None:
            yield check(self.address, reply)

    def _answer(self, connection: Connection, whole: tuple[Any, ...], confirmed: bool) -> Any:
        """The answer to a script that was sent by its hash, and is sent again whole to a server that does not know it."""
        reply = connection.receive()
        if isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT"):
            connection.send(*whole)
            reply = connection.receive()
        self._here(reply)
        if confirmed and self.address.publish_replicas and not isinstance(reply, hiredis.ReplyError):
            self._wait_for_replicas(connection)
        reach("redis-answered")
        return reply

    def _here(self, reply: Any) -> Any:
        """The reply, unless it says that what we are connected to is not (or no more) what we look for."""
        if has_moved(reply):
            check(self.address, reply)  # raises, so that the connection is closed and the next one looks anew
        return reply

    def _wait_for_replicas(self, connection: Connection) -> None:
        wanted, within_s = self.address.publish_replicas, max(0.05, self.address.timeout_s - _ANSWER_S)
        # On this connection: WAIT is about what the connection has written.
        got = connection.call("WAIT", wanted, int(within_s * 1000))
        if got < wanted:
            raise OperationalError(
                f"{self.address}: {got} of {wanted} replicas (publish_replicas) confirmed the message within "
                f"{within_s:g} s. It lies on the master alone, and may run or be lost. "
                "See that the replicas are up, or lower publish_replicas"
            )

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
