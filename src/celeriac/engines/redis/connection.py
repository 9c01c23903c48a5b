"""One connection to a Redis server: RESP over a socket, encoded and parsed by hiredis.

Small on purpose: a command on it costs a quarter of what redis-py takes, and nothing is ever repeated behind the caller's
back. Every wait has a deadline. A connection that failed is not used again: whether its last command was carried out is
unknown, and its late answer must not be taken for another's.
"""

from __future__ import annotations

import re
import select
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

import hiredis

from celeriac.engines.redis.dialing import dial
from celeriac.engines.redis.urls import Address
from celeriac.exceptions import BrokerError, OperationalError

__all__ = ["Connection", "Redirected", "check", "has_moved"]

#: Not more: a larger buffer is mapped and unmapped by the kernel for each read, which takes as long as the round trip.
_READ_BYTES = 65_536
#: Answers that mean "not now": the server loads, is full, is a replica, or cannot write its disk.
_PASSING = (
    "OOM",
    "LOADING",
    "BUSY",
    "READONLY",
    "MISCONF",
    "MASTERDOWN",
    "NOREPLICAS",
    "TRYAGAIN",
    "CLUSTERDOWN",
    "STALE",
    "UNBLOCKED",
    "ERR max number of clients",
)
#: Of these, what another server may not answer: this one has become a replica, or is cut off from its replicas.
_MOVED = ("READONLY", "MASTERDOWN", "NOREPLICAS", "UNBLOCKED")
#: Before Redis 7 an error inside a script was wrapped.
_IN_SCRIPT = re.compile(r"ERR Error running script .*?: -(?=[A-Z]+ )", re.DOTALL)
#: Seconds of silence before a probe, between probes, and how many; ms until what was sent must be acknowledged.
#: (TCP_KEEPALIVE is macOS's name of the first, which has none of the last.)
_KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPALIVE": 5, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 4, "TCP_USER_TIMEOUT": 9000}
#: A script is refused a key in a sentence of its own.
_REFUSED_IN_SCRIPT = "The user executing the script can't"
_REFUSED = ("NOAUTH", "WRONGPASS", "NOPERM", "ERR AUTH", "ERR invalid password", "ERR Client sent AUTH")


class Redirected(OperationalError):
    """A node of a cluster has done nothing and named the one to ask; `once` while the slot is on its way there."""

    def __init__(self, address: Address, text: str) -> None:
        super().__init__(f"{address}: the slot is served elsewhere ({text})")
        kind, slot, where = text.split(" ", 2)
        self.once = kind == "ASK"
        self.slot = int(slot)
        self.host, _, port = where.rpartition(":")
        self.port = int(port)


class Connection:
    """A connected, authenticated socket on the right database. Not thread-safe.

    `greeting` is sent in place of choosing the database, for servers that have none.
    """

    def __init__(self, address: Address, greeting: tuple[Any, ...] = ()) -> None:
        self._address = address
        self._greeting = greeting or ("SELECT", address.database)
        self._reader = hiredis.Reader()
        self._buffer: Any = bytearray(_READ_BYTES)  # any buffer will do, though hiredis declares only bytes
        self._greeted = False
        # One deadline for connecting and greeting, so that a server that accepts and says nothing costs no more.
        deadline = time.monotonic() + address.connect_timeout_s
        try:
            self._socket = self._open(deadline)
        except OSError as error:
            tls = "" if address.tls is None else ", and does it speak TLS"
            hint = f"Is the server running there{tls}?"
            raise OperationalError(f"{address} cannot be reached: {_reason(error)}. {hint}") from None
        try:
            self._greet(deadline)
            self._greeted = True
            _wait_at_most(self._socket, address.timeout_s)
            self._poll = select.poll()
            self._poll.register(self._socket.fileno(), select.POLLIN)
        except BaseException:
            self.close()
            raise

    def _open(self, deadline: float) -> socket.socket:
        address = self._address
        secure = None
        if address.tls is not None:
            from celeriac.engines.redis.tls import securing

            secure = securing(address)
        local = address.path is not None
        plain = socket.socket(socket.AF_UNIX) if local else dial(address.host, address.port, deadline)
        try:
            plain.settimeout(_left_s(deadline))
            if address.path is not None:
                plain.connect(address.path)
            else:
                _watch_over(plain)
            return plain if secure is None else secure(plain)
        except BaseException:
            plain.close()
            raise

    def _greet(self, deadline: float) -> None:
        address = self._address
        commands: list[tuple[Any, ...]] = []
        if address.password is not None:
            commands.append(("AUTH", *([address.username] if address.username else []), address.password))
        commands.append(self._greeting)
        if address.client_name:
            commands.append(("CLIENT", "SETNAME", address.client_name))
        self._socket.settimeout(_left_s(deadline))
        for reply in self.call_many(commands):
            check(address, reply)

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, *command: Any) -> None:
        """Send a command without waiting; raises `OperationalError`."""
        self.send_packed(hiredis.pack_command(command))

    def send_packed(self, packed: bytes) -> None:
        """Send what `hiredis.pack_command` made."""
        try:
            self._socket.sendall(packed)
        except OSError as error:
            raise self._lost(error) from None

    def receive(self) -> Any:
        """The next answer (an error answer as a value); raises `OperationalError`."""
        while True:
            try:
                reply = self._reader.gets()
            except hiredis.ProtocolError as error:
                raise self._lost(error) from None
            if reply is not False:
                return reply
            try:
                count = self._socket.recv_into(self._buffer)
            except OSError as error:
                raise self._lost(error) from None
            if not count:
                raise self._lost(None)
            self._reader.feed(self._buffer, 0, count)

    def call(self, *command: Any) -> Any:
        """Send a command and return its answer; raises for an error answer."""
        self.send(*command)
        return check(self._address, self.receive())

    def call_many(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send commands together and return their answers, errors as values."""
        self.send_together(commands)
        return [self.receive() for _ in commands]

    def send_together(self, commands: Sequence[tuple[Any, ...]]) -> None:
        """As `send`, for several commands."""
        self.send_packed(b"".join([hiredis.pack_command(command) for command in commands]))

    def readable(self, timeout_s: float) -> bool:
        """Whether something comes within this time: an answer, or the end of the connection."""
        if self._reader.has_data():
            return True
        return bool(self._poll.poll(timeout_s * 1000))

    def shut_down(self) -> None:
        """End the connection, also under a thread that reads from it; the socket is still to be closed."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def __del__(self) -> None:
        # An application that is dropped without `close` takes its idle connections along, which is nothing to warn of.
        if hasattr(self, "_socket"):
            self._socket.close()

    def close(self) -> None:
        """Idempotent."""
        self._socket.close()

    def _lost(self, error: OSError | hiredis.ProtocolError | None) -> OperationalError:
        self.shut_down()  # its owner closes it: another thread may be polling this file number
        what = f"the connection to {self._address} was lost: {_reason(error)}"
        # The server looks at our certificate when we think that the handshake is over.
        if self._address.tls is not None and not self._greeted and not isinstance(error, TimeoutError):
            what += (
                ". If the server asks for a certificate of ours: does it trust the one in ssl_certfile?"
                if self._address.tls.get("ssl_certfile")
                else ". If the server asks for a certificate of ours, name its files in ssl_certfile and ssl_keyfile"
            )
        return OperationalError(what)


def check(address: Address, reply: Any, key: Any = "a key") -> Any:
    """The reply to a command on `key`, unless it is an error: then that is raised, as what it means for the caller."""
    if not isinstance(reply, hiredis.ReplyError):
        return reply
    text = _text(reply)
    if text.startswith("WRONGKEY"):
        what = text.removeprefix("WRONGKEY ")
        raise BrokerError(f"{address}: key {what}. Something else writes under our names; rename or delete that key")
    if text.startswith("WRONGTYPE"):
        raise BrokerError(
            f"{address}: {key} is of another type than ours. Something else writes under our names ({text})"
        )
    if text.startswith(_REFUSED) or _REFUSED_IN_SCRIPT in text:
        raise BrokerError(
            f"{address} refuses us: {text.rstrip('.')}. Check user and password in the URL, and the user's permissions"
        )
    if text.startswith(("MOVED ", "ASK ")):
        raise Redirected(address, text)
    if text.startswith(_PASSING):
        raise OperationalError(f"{address} cannot do it now: {text}")
    raise BrokerError(f"{address}: {text}")


def has_moved(reply: Any) -> bool:
    """Whether the answer says that this is not, or no more, the server to write to."""
    return isinstance(reply, hiredis.ReplyError) and _text(reply).startswith(_MOVED)


def _text(error: hiredis.ReplyError) -> str:
    return _IN_SCRIPT.sub("", str(error), count=1)


def _watch_over(plain: socket.socket) -> None:
    """Have the kernel end a connection whose other side is gone, also one on which we only listen."""
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            plain.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _wait_at_most(end: socket.socket, timeout_s: float) -> None:
    """Bound every wait on it by the kernel where that can be: Python would ask it, before each call, whether to make it.

    Two calls fewer for each exchange, and after each a thread waits for its turn with the interpreter.
    """
    if type(end) is not socket.socket:  # a secure one
        end.settimeout(timeout_s)
        return
    end.settimeout(None)
    whole_s = int(timeout_s)
    timeval = struct.pack("@ll", whole_s, max(1, int((timeout_s - whole_s) * 1_000_000)))
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)


def _left_s(deadline: float) -> float:
    return max(0.01, deadline - time.monotonic())


def _reason(error: OSError | hiredis.ProtocolError | None) -> str:
    if error is None:
        return "the server closed it"
    if not isinstance(error, OSError):
        return f"what answers there is no Redis server ({error})"
    if isinstance(error, (TimeoutError, BlockingIOError)):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return f"no such host ({error.strerror})"
    return error.strerror or str(error)
