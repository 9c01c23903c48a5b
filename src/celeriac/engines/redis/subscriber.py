"""Waiting for results: one connection per process, on which each thing waited for has a channel.

Who waits reads: of the threads that do, one reads from the connection and hands to the others what is theirs; when it has
its own, another one goes on. So a caller sees its result without a change of threads. For those who are called back
(`add`) there is a thread, started with the first of them.

To subscribe is also to look, in one round trip: the connection speaks RESP3, which lets it send commands beside its
subscriptions. Where that cannot be (`_looks`), whoever waits is told to look when the server listens. After a lost
connection all channels are subscribed, and looked at, again, since what was published in between nobody heard.
"""

from __future__ import annotations

import os
import random
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import hiredis
import msgspec

from celeriac.engines.redis.connection import Connection, check
from celeriac.engines.redis.sentinel import connect
from celeriac.engines.redis.urls import Address
from celeriac.exceptions import BrokerError, OperationalError
from celeriac.retries import Backoff

__all__ = ["Follower", "Subscriber"]

#: After so long a silence the server is asked whether it is there.
_QUIET_S = 3.0
#: So many channels that nobody needs any more are given up at once, if not along with a new one.
_MOST_STALE = 64

_subscribers: weakref.WeakSet[Subscriber] = weakref.WeakSet()


class _Channel(msgspec.Struct):
    """One channel; `live` once the server has confirmed it."""

    callbacks: list[Callable[[], None]] = msgspec.field(default_factory=list)
    followers: list[Follower] = msgspec.field(default_factory=list)
    live: threading.Event = msgspec.field(default_factory=threading.Event)


class Follower:
    """One thread that waits for what is published on a channel."""

    def __init__(self, subscriber: Subscriber) -> None:
        self._subscriber = subscriber
        self.changed = threading.Event()
        #: The newest alone: it says all.
        self.heard: deque[bytes | None] = deque(maxlen=1)

    def hear(self, body: bytes | None) -> None:
        """From the thread that reads: a document, or None to have it looked for."""
        self.heard.append(body)
        self.changed.set()

    def wait(self, timeout_s: float) -> bytes | None:
        """As `engines.base.Follower.wait`."""
        return self._subscriber.wait(self, timeout_s)


class Subscriber:
    """Hears what is published. Thread-safe; a forked child starts without channels."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._backoff = Backoff(longest_s=1.0)
        self._reset()
        _subscribers.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        #: Held by the thread that reads.
        self._reading = threading.Lock()
        self._waiting: set[Follower] = set()
        self._channels: dict[str, _Channel] = {}
        #: Subscribed, though nobody waits for them any more.
        self._stale: set[str] = set()
        self._connection: Connection | None = None
        #: Whether this connection takes commands beside its subscriptions.
        self._looks = False
        #: The commands that the server owes an answer to, and since when. Each has one.
        self._asked: deque[tuple[tuple[str, ...], float]] = deque()
        self._heard_at = 0.0
        self._attempt = 0
        self._retry_at = 0.0
        self._trouble: BrokerError | None = None
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    # ── for who waits ────────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def follow(self, name: str) -> Iterator[Follower]:
        """Wait for this channel in the thread that calls. Asks nothing of the server before the first wait."""
        follower = Follower(self)
        with self._lock:
            self._channel(name).followers.append(follower)
            self._subscribe([name])  # also if it is: who comes second looks as well
        try:
            yield follower
        finally:
            with self._lock:
                channel = self._channels[name]
                channel.followers.remove(follower)
                self._leave(name, channel)

    def wait(self, follower: Follower, timeout_s: float) -> bytes | None:
        """As `Follower.wait`. Raises `BrokerError` while the server is away."""
        end = time.monotonic() + timeout_s
        with self._lock:
            self._waiting.add(follower)
        try:
            while not follower.heard:
                follower.changed.clear()
                if self._reading.acquire(blocking=False):
                    try:
                        self._read_for(follower, end)
                    finally:
                        self._reading.release()
                elif not follower.heard:
                    follower.changed.wait(max(0.0, end - time.monotonic()))
                if not follower.heard and time.monotonic() >= end:
                    return None
            return follower.heard.popleft()
        finally:
            with self._lock:
                self._waiting.discard(follower)
                for other in self._waiting:  # who does not read by now may have to
                    if not self._reading.locked():
                        other.changed.set()
                    break

    @contextmanager
    def watch(self, name: str, callback: Callable[[], None]) -> Iterator[None]:
        """As `add`, within the context."""
        self.add(name, callback)
        try:
            yield
        finally:
            self.remove(name, callback)

    def __len__(self) -> int:
        """How many channels there are."""
        return len(self._channels)

    def add(self, name: str, callback: Callable[[], None]) -> None:
        """Call back for this channel from now on; returns when the server listens. Raises `OperationalError`."""
        with self._lock:
            is_new = name not in self._channels
            channel = self._channel(name)
            channel.callbacks.append(callback)
            if is_new:
                self._subscribe([name])
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
            if channel is not None:
                with suppress(ValueError):
                    channel.callbacks.remove(callback)
                self._leave(name, channel)

    def close(self) -> None:
        """End the thread and the connection; whoever waits, or comes, opens it again."""
        with self._lock:
            self._closed.set()
            self._closed = threading.Event()
            connection, self._connection = self._connection, None
            thread, self._thread = self._thread, None
            for channel in self._channels.values():
                channel.live.clear()
        if connection is not None:
            connection.shut_down()  # whoever reads notices, and closes it
            if self._reading.acquire(blocking=False):
                connection.close()
                self._reading.release()
        if thread is not None and thread is not threading.current_thread():
            thread.join(self._address.timeout_s)

    # ── the connection: `_lock` is held ──────────────────────────────────────────────────────────────────────────────

    def _channel(self, name: str) -> _Channel:
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = _Channel()
        return channel

    def _leave(self, name: str, channel: _Channel) -> None:
        if channel.callbacks or channel.followers:
            return
        del self._channels[name]
        if self._connection is not None:
            # The server is told along with the next channel: for this alone nobody need wait.
            self._stale.add(name)
            if len(self._stale) >= _MOST_STALE:
                self._subscribe([])

    def _subscribe(self, names: list[str]) -> None:
        self._stale.difference_update(names)
        commands: list[tuple[str, ...]] = [("UNSUBSCRIBE", name) for name in self._stale]
        self._stale.clear()
        for name in names:
            commands.append(("SUBSCRIBE", name))
            if self._looks and self._channels[name].followers:
                commands.append(("GET", name))
        self._send(commands)

    def _send(self, commands: list[tuple[str, ...]]) -> None:
        if self._connection is not None:
            now = time.monotonic()
            self._asked.extend((command, now) for command in commands)
            with suppress(OperationalError):  # whoever reads notices too, and subscribes everything again
                self._connection.send_together(commands)

    def _forget_connection(self) -> None:
        self._stale.clear()
        self._asked.clear()
        for channel in self._channels.values():
            channel.live.clear()

    # ── reading: `_reading` is held ──────────────────────────────────────────────────────────────────────────────────

    def _read_for(self, follower: Follower, end: float) -> None:
        # Also without time: what has been asked for by many who did not wait must not pile up.
        while not follower.heard and (self._read(max(0.0, end - time.monotonic())) or time.monotonic() < end):
            pass

    def _read(self, timeout_s: float) -> bool:
        """Whether something came within this time. Raises `BrokerError` while the server is away."""
        connection = self._connection or self._reconnect()
        try:
            since = self._asked[0][1] + self._address.timeout_s if self._asked else self._heard_at + _QUIET_S
            if connection.readable(min(timeout_s, max(0.0, since - time.monotonic()))):
                self._hear(connection.receive())
                self._heard_at = time.monotonic()
                return True
            if time.monotonic() >= since:
                self._ask_whether_there()
            return False
        except BaseException as error:
            # Also when a signal comes in between: what was read may not have been told.
            with self._lock:
                connection.close()
                if self._connection is connection:
                    self._connection = None
                    self._forget_connection()
            if isinstance(error, BrokerError):
                self._note(error)
            raise

    def _ask_whether_there(self) -> None:
        with self._lock:
            if self._asked:
                raise OperationalError(f"{self._address} has stopped answering")  # half-open: nobody told us
            self._send([("PING",)])

    def _hear(self, reply: object) -> None:
        match reply:
            case [b"message", bytes(channel), bytes(body)]:
                self._tell(channel.decode("utf-8", "replace"), body)
                return
        command, _ = self._asked.popleft()
        match command, reply:
            case ("GET", name), None:
                pass  # it will be published
            case ("GET", name), answer:
                # An error is for whoever looks to meet.
                self._tell(name, answer if isinstance(answer, bytes) else None)
            case ("SUBSCRIBE", name), [b"subscribe", *_]:
                self._confirm(name)
            case _:
                check(self._address, reply, "a channel")

    def _confirm(self, name: str) -> None:
        self._trouble = None
        with self._lock:
            channel = self._channels.get(name)
            if channel is None:
                return
            channel.live.set()
        for callback in list(channel.callbacks):
            callback()
        if not self._looks:
            for follower in list(channel.followers):
                follower.hear(None)

    def _tell(self, name: str, body: bytes | None) -> None:
        with self._lock:
            channel = self._channels.get(name)
            if channel is None:
                return
            callbacks, followers = list(channel.callbacks), list(channel.followers)
        for follower in followers:
            follower.hear(body)
        for callback in callbacks:
            callback()

    def _reconnect(self) -> Connection:
        if self._trouble is not None and time.monotonic() < self._retry_at:  # for all who wait together
            raise type(self._trouble)(*self._trouble.args)
        closed = self._closed
        try:
            connection = self._open()
            looks = self._may_look(connection)
        except BrokerError as error:
            self._note(error)
            raise
        with self._lock:
            if closed.is_set():
                connection.close()
                raise OperationalError(f"{self._address}: closed meanwhile")
            self._connection, self._looks = connection, looks
            self._forget_connection()
            self._heard_at = time.monotonic()
            self._attempt = 0
            self._subscribe(list(self._channels))
        return connection

    def _note(self, error: BrokerError) -> None:
        self._trouble = error
        self._attempt += 1
        self._retry_at = time.monotonic() + self._backoff.delay_s(self._attempt, random.uniform)

    def _open(self) -> Connection:
        return connect(self._address)

    def _may_look(self, connection: Connection) -> bool:
        """Have the connection take commands beside its subscriptions; whether it does."""
        (reply,) = connection.call_many([("HELLO", "3")])
        return not isinstance(reply, hiredis.ReplyError)

    # ── the thread for who is called back ────────────────────────────────────────────────────────────────────────────

    def _listen(self, closed: threading.Event) -> None:
        while not closed.is_set():
            try:
                with self._reading:
                    while not closed.is_set():
                        self._read(_QUIET_S)
            except BrokerError:
                closed.wait(max(0.0, self._retry_at - time.monotonic()))

    def _after_fork(self) -> None:
        inherited = self._connection
        self._reset()
        if inherited is not None:
            inherited.close()


def _after_fork() -> None:
    for subscriber in list(_subscribers):
        subscriber._after_fork()


os.register_at_fork(after_in_child=_after_fork)
