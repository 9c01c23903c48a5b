"""How an idle child sleeps until there is work: its bell is a list on the server that publishers push to.

The `BLPOP` that waits holds nothing but rings, so losing its answer loses nothing. It stays outstanding between waits, and
`wake` ends a wait through a pipe without touching the connection. Celery's producers ring no bells, so the queues are looked
at ten times a second beside it (lua/glance.lua), by a script that takes nothing and sends one waiter at a time.
"""

from __future__ import annotations

import os
import select
import threading
import time
import uuid
from collections.abc import Callable

from celeriac.engines.redis.connection import Connection, check
from celeriac.engines.redis.sentinel import connect
from celeriac.engines.redis.urls import Address
from celeriac.exceptions import BrokerError, OperationalError

__all__ = ["Bell"]

_LOOK_S = 0.1
#: Short enough that a connection whose other side is gone is found within ten seconds.
_BLOCK_S = 5


class Bell:
    """The bell of this process. `wait` from one thread; `wake` from any."""

    def __init__(self, address: Address, key_prefix: str) -> None:
        self._address = address
        self.name = uuid.uuid4().hex
        self._key = f"{key_prefix}celeriac:bell:{self.name}"
        self._connection: Connection | None = None
        self._asked_at: float | None = None
        self._closing = threading.Lock()
        self._pipe_read, self._pipe_write = os.pipe()
        os.set_blocking(self._pipe_read, False)
        os.set_blocking(self._pipe_write, False)

    def wait(self, timeout_s: float, look: Callable[[], bool] | None) -> None:
        """Until rung, woken, `look` finds something, or time; raises `BrokerError` when the server is gone or refuses."""
        end = time.monotonic() + timeout_s
        while True:
            connection = self._listening()
            left_s = max(0.0, end - time.monotonic())
            poll = select.poll()
            poll.register(connection.fileno(), select.POLLIN)
            poll.register(self._pipe_read, select.POLLIN)
            events = poll.poll(1000 * (left_s if look is None else min(left_s, _LOOK_S)))
            if events:
                return self._take(connection, [fd for fd, _ in events])
            try:
                if left_s == 0 or (look is not None and look()):
                    return None
            except BrokerError:
                self._drop()  # what keeps us from looking keeps the bell from ringing
                raise

    def wake(self) -> None:
        """End the current or else the next wait."""
        with self._closing:
            if self._pipe_write >= 0:
                try:
                    os.write(self._pipe_write, b"!")
                except BlockingIOError:
                    pass  # it is full of wakes

    def close(self) -> None:
        """Idempotent. No wait may be under way."""
        self._drop()
        with self._closing:
            if self._pipe_read >= 0:
                os.close(self._pipe_read)
                os.close(self._pipe_write)
                self._pipe_read = self._pipe_write = -1

    def _listening(self) -> Connection:
        if self._connection is not None and self._asked_at is not None:
            if time.monotonic() - self._asked_at <= _BLOCK_S + self._address.timeout_s:
                return self._connection
            self._drop()
            raise OperationalError(f"{self._address} has stopped answering")
        try:
            if self._connection is None:
                self._connection = connect(self._address)
            self._connection.send("BLPOP", self._key, _BLOCK_S)
        except BrokerError:
            self._drop()
            raise
        self._asked_at = time.monotonic()
        return self._connection

    def _take(self, connection: Connection, ready: list[int]) -> None:
        if self._pipe_read in ready:
            os.read(self._pipe_read, 4096)
        if connection.fileno() in ready:
            self._asked_at = None
            try:
                # Of a server that has become a replica the answer is an error, at once: it must not pass for a ring.
                check(self._address, connection.receive(), self._key)
            except BrokerError:
                self._drop()
                raise

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._asked_at = None
