"""How an idle child sleeps until there is work: its bell is a list on the server that publishers push to.

The `BLPOP` that waits holds nothing but rings, so losing its answer loses nothing. It stays outstanding between waits, and
`wake` ends a wait through a pipe without touching the connection. Celery's producers ring no bells, so the queues are looked
at ten times a second beside it (lua/glance.lua), by a script that takes nothing and sends one waiter at a time.

A child that runs nothing lets its next claim stand behind the `BLPOP`: the server carries it out when the bell has rung, and
wake-up and work arrive together. It is a claim like any other that has not been answered yet: whoever claims otherwise
meanwhile raises the generation first, and asks what it holds.
"""

from __future__ import annotations

import os
import select
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from celeriac.engines.redis.connection import Connection, check, has_moved
from celeriac.engines.redis.sentinel import connect
from celeriac.engines.redis.urls import Address
from celeriac.exceptions import BrokerError, OperationalError

__all__ = ["Bell"]

_LOOK_S = 0.1
#: Short enough that a connection whose other side is gone is found within ten seconds.
_BLOCK_S = 5
#: None at all would be for ever.
_LEAST_BLOCK_S = 0.01
#: Whoever has a claim stand is called back so often, to show that it has its turns.
_TURN_S = 0.4
_RING, _CLAIM = "ring", "claim"


class Bell:
    """The bell of this process. `wait` from one thread; `wake` from any."""

    def __init__(self, address: Address, key_prefix: str) -> None:
        self._address = address
        self.name = uuid.uuid4().hex
        self.key = f"{key_prefix}celeriac:bell:{self.name}"
        self._connection: Connection | None = None
        #: What the server has been asked for and has not answered: a ring, and perhaps the claim behind it; until when.
        self._owed: deque[str] = deque()
        self._due_at = 0.0
        self._given_up = False
        self._ready: set[int] = set()
        self._closing = threading.Lock()
        self._pipe_read, self._pipe_write = os.pipe()
        os.set_blocking(self._pipe_read, False)
        os.set_blocking(self._pipe_write, False)

    def wait_for_wake(self, timeout_s: float) -> None:
        """Until woken, or time."""
        self._poll(timeout_s, [self._pipe_read])

    def wait(self, timeout_s: float, look: Callable[[], bool] | None) -> None:
        """Until rung, woken, `look` finds something, or time; raises `BrokerError` when the server is gone or refuses."""
        end = time.monotonic() + timeout_s
        while True:
            connection = self._listening(_BLOCK_S, None)
            left_s = max(0.0, end - time.monotonic())
            if self._anything_comes(connection, left_s if look is None else min(left_s, _LOOK_S)):
                if self._readable(connection):
                    self._take(connection)
                return
            if left_s == 0 or self._finds(look):
                return

    def stand(self, claim: tuple[Any, ...], within_s: float, look: Callable[[], bool]) -> Any:
        """Have the server answer this command when the bell is rung, or after `within_s`; the answer (or error answer).

        None when woken, and now and then: the claim stands on, until its answer came or it is given up.
        """
        if self._given_up:
            self._drop()
        end = time.monotonic() + _TURN_S
        while True:
            connection = self._listening(max(_LEAST_BLOCK_S, within_s), claim)
            if self._anything_comes(connection, _LOOK_S):
                return self._take(connection) if self._readable(connection) else None
            if self._finds(look) or time.monotonic() >= end:
                return None

    def give_up_claim(self) -> None:
        """Whatever the claim that stands will get, nobody takes from here."""
        self._given_up = _CLAIM in self._owed

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

    def _anything_comes(self, connection: Connection, timeout_s: float) -> bool:
        """Whether within this time something came, or we were woken."""
        return self._poll(timeout_s, [self._pipe_read, connection.fileno()])

    def _poll(self, timeout_s: float, fds: Sequence[int]) -> bool:
        poll = select.poll()
        for fd in fds:
            poll.register(fd, select.POLLIN)
        self._ready = {fd for fd, _ in poll.poll(1000 * max(0.0, timeout_s))}
        if self._pipe_read in self._ready:
            os.read(self._pipe_read, 4096)
        return bool(self._ready)

    def _readable(self, connection: Connection) -> bool:
        return connection.fileno() in self._ready

    def _finds(self, look: Callable[[], bool] | None) -> bool:
        try:
            return look is not None and look()
        except BrokerError:
            self._drop()  # what keeps us from looking keeps the bell from ringing
            raise

    def _listening(self, block_s: float, claim: tuple[Any, ...] | None) -> Connection:
        """The connection, on which the next ring has been asked for, and this claim behind it."""
        try:
            connection = self._connection
            if connection is None:
                connection = self._connection = connect(self._address)
            commands: list[tuple[Any, ...]] = []
            if not self._owed:
                commands.append(("BLPOP", self.key, block_s))
                self._owed.append(_RING)
                self._due_at = time.monotonic() + block_s
            elif time.monotonic() > self._due_at + self._address.timeout_s:
                raise OperationalError(f"{self._address} has stopped answering")
            if claim is not None and _CLAIM not in self._owed:
                commands.append(claim)
                self._owed.append(_CLAIM)
            if commands:
                connection.send_together(commands)
            return connection
        except BrokerError:
            self._drop()
            raise

    def _take(self, connection: Connection) -> Any:
        """Read what has come: a ring, and with it the answer to the claim behind it."""
        try:
            answer = None
            while self._owed:
                reply, owed = connection.receive(), self._owed.popleft()
                if owed is _RING or has_moved(reply):
                    # Of a server that has become a replica the answer is an error, at once: it must not pass for a ring.
                    check(self._address, reply, self.key)
                elif self._given_up:
                    self._given_up = False
                else:
                    answer = reply
            return answer
        except BrokerError:
            self._drop()
            raise

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._owed.clear()
        self._given_up = False
