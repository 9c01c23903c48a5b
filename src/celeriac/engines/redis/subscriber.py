"""Waiting for published results: one connection and one thread per process, a channel for each thing waited for.

Opened when someone waits for the first time. After a lost connection all channels are subscribed again and everybody is
told to look, since what was published in between nobody heard.
"""

from __future__ import annotations

import os
import random
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from celeriac.engines.redis.connection import Connection, check
from celeriac.engines.redis.sentinel import connect
from celeriac.engines.redis.urls import Address
from celeriac.exceptions import BrokerError, OperationalError
from celeriac.retries import Backoff

__all__ = ["Subscriber"]

#: After so long a silence the server is asked whether it is there.
_QUIET_S = 3.0

_subscribers: weakref.WeakSet[Subscriber] = weakref.WeakSet()


@dataclass(slots=True)
class _Channel:
    """One channel; `live` once the server has confirmed it."""

    callbacks: list[Callable[[], None]] = field(default_factory=list)
    live: threading.Event = field(default_factory=threading.Event)


class Subscriber:
    """Calls back when something is published. Thread-safe; a forked child starts without channels."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._backoff = Backoff(longest_s=1.0)
        self._reset()
        _subscribers.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._channels: dict[str, _Channel] = {}
        self._connection: Connection | None = None
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        #: Why the connection was lost last.
        self._trouble: BrokerError | None = None

    def add(self, name: str, callback: Callable[[], None]) -> None:
        """Call back for this channel from now on; returns when the server listens. Raises `OperationalError`."""
        with self._lock:
            channel = self._channels.get(name)
            if channel is None:
                channel = self._channels[name] = _Channel()
                self._send("SUBSCRIBE", name)
            channel.callbacks.append(callback)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._listen, args=(self._closed,), name="celeriac-results", daemon=True
                )
                self._thread.start()
        if not channel.live.wait(self._address.timeout_s):
            self.remove(name, callback)
            trouble = self._trouble
            if trouble is not None:
                raise type(trouble)(*trouble.args)
            raise OperationalError(f"{self._address} did not answer within {self._address.timeout_s:g} s")

    def remove(self, name: str, callback: Callable[[], None]) -> None:
        """Call back no more."""
        with self._lock:
            channel = self._channels.get(name)
            if channel is None:
                return
            with suppress(ValueError):
                channel.callbacks.remove(callback)
            if not channel.callbacks:
                del self._channels[name]
                self._send("UNSUBSCRIBE", name)

    def close(self) -> None:
        """End the thread and the connection; `add` starts them again."""
        with self._lock:
            self._closed.set()
            self._closed = threading.Event()
            self._channels.clear()
            connection, self._connection = self._connection, None
            thread, self._thread = self._thread, None
            if connection is not None:
                connection.shut_down()
        if thread is not None and thread is not threading.current_thread():
            thread.join(self._address.timeout_s)

    def _send(self, *command: str) -> None:
        if self._connection is not None:
            with suppress(OperationalError):  # the listening thread notices too, and subscribes everything again
                self._connection.send(*command)

    def _listen(self, closed: threading.Event) -> None:
        attempt = 0
        while not closed.is_set():
            connection = None
            try:
                connection = self._connect(closed)
                attempt = 0
                self._hear(connection, closed)
            except BrokerError as error:
                self._trouble = error
                attempt += 1
            with self._lock:
                # Nobody sends on it any more, so it can be closed.
                if connection is not None:
                    connection.close()
                if closed.is_set():
                    return
                self._connection = None
                for channel in self._channels.values():
                    channel.live.clear()
            closed.wait(self._backoff.delay_s(max(1, attempt), random.uniform))

    def _connect(self, closed: threading.Event) -> Connection:
        connection = self._open()
        try:
            with self._lock:
                if not closed.is_set():
                    if self._channels:
                        connection.send("SUBSCRIBE", *self._channels)
                    self._connection = connection
        except BaseException:
            connection.close()
            raise
        return connection

    def _open(self) -> Connection:
        return connect(self._address)

    def _hear(self, connection: Connection, closed: threading.Event) -> None:
        asked = False
        while not closed.is_set():
            if not connection.readable(self._address.timeout_s if asked else _QUIET_S):
                if asked:
                    raise OperationalError("no answer")  # half-open: the other end is gone and nobody told us
                with self._lock:
                    connection.send("PING")
                asked = True
                continue
            asked = False
            message = check(self._address, connection.receive(), "a channel")
            if isinstance(message, list) and len(message) == 3 and isinstance(message[1], bytes):
                self._notify(message[1].decode("utf-8", "replace"), confirmed=message[0] == b"subscribe")

    def _notify(self, name: str, *, confirmed: bool) -> None:
        """Also when confirmed: what was published before that, nobody heard."""
        with self._lock:
            channel = self._channels.get(name)
            if channel is None:
                return
            if confirmed:
                channel.live.set()
                self._trouble = None
            callbacks = list(channel.callbacks)
        for callback in callbacks:
            callback()

    def _after_fork(self) -> None:
        inherited = self._connection
        self._reset()
        if inherited is not None:
            inherited.close()


def _after_fork() -> None:
    for subscriber in list(_subscribers):
        subscriber._after_fork()


os.register_at_fork(after_in_child=_after_fork)
