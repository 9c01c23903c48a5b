"""One connection to a Redis server: RESP over a socket, encoded and parsed by hiredis.

Small on purpose: a command on it costs a quarter of what redis-py takes, and nothing is ever repeated behind the caller's
back. Every wait has a deadline. A connection that failed is not used again: whether its last command was carried out is
unknown, and its late answer must not be taken for another's.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Sequence
from typing import Any

import hiredis

from celeriac.engines.redis.urls import Address
from celeriac.exceptions import BrokerError, ConfigError, OperationalError

__all__ = ["Connection", "check"]

_READ_BYTES = 262_144
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
)
#: By Celery's words, and by the numbers of the ssl module's constants.
_CERTIFICATES = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
    "0": ssl.CERT_NONE,
    "1": ssl.CERT_OPTIONAL,
    "2": ssl.CERT_REQUIRED,
}
_REFUSED = ("NOAUTH", "WRONGPASS", "NOPERM", "ERR AUTH", "ERR invalid password", "ERR Client sent AUTH")


class Connection:
    """A connected, authenticated socket on the right database. Not thread-safe."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._reader = hiredis.Reader()
        # One deadline for connecting and greeting, so that a server that accepts and says nothing costs no more.
        deadline = time.monotonic() + address.connect_timeout_s
        tls = None if address.tls is None else _tls_context(address.tls)
        try:
            self._socket = self._open(deadline, tls)
        except ssl.SSLError as error:
            raise OperationalError(
                f"{address} cannot be reached by TLS: {_reason(error)}. Does it speak TLS there, and does "
                "ssl_ca_certs (or this machine) trust its certificate?"
            ) from None
        except OSError as error:
            hint = (
                "Is the server running there?" if tls is None else "Is the server running there, and does it speak TLS?"
            )
            raise OperationalError(f"{address} cannot be reached: {_reason(error)}. {hint}") from None
        try:
            self._greet(deadline)
            self._socket.settimeout(address.timeout_s)
        except BaseException:
            self.close()
            raise

    def _open(self, deadline: float, tls: ssl.SSLContext | None) -> socket.socket:
        address = self._address
        if address.path is not None:
            plain = socket.socket(socket.AF_UNIX)
        else:
            plain = socket.create_connection((address.host, address.port), address.connect_timeout_s)
        try:
            plain.settimeout(_left_s(deadline))
            if address.path is not None:
                plain.connect(address.path)
            else:
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            return plain if tls is None else tls.wrap_socket(plain, server_hostname=address.host)
        except BaseException:
            plain.close()
            raise

    def _greet(self, deadline: float) -> None:
        address = self._address
        commands: list[tuple[Any, ...]] = []
        if address.password is not None:
            commands.append(("AUTH", *([address.username] if address.username else []), address.password))
        commands.append(("SELECT", address.database))
        if address.client_name:
            commands.append(("CLIENT", "SETNAME", address.client_name))
        self._socket.settimeout(_left_s(deadline))
        for reply in self.call_many(commands):
            check(address, reply)

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, *command: Any) -> None:
        """Send a command without waiting; raises `OperationalError`."""
        try:
            self._socket.sendall(hiredis.pack_command(command))
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
                data = self._socket.recv(_READ_BYTES)
            except OSError as error:
                raise self._lost(error) from None
            if not data:
                raise self._lost(None)
            self._reader.feed(data)

    def call(self, *command: Any) -> Any:
        """Send a command and return its answer; raises for an error answer."""
        self.send(*command)
        return check(self._address, self.receive())

    def call_many(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send commands together and return their answers, errors as values."""
        try:
            self._socket.sendall(b"".join([hiredis.pack_command(command) for command in commands]))
        except OSError as error:
            raise self._lost(error) from None
        return [self.receive() for _ in commands]

    def readable(self, timeout_s: float) -> bool:
        """Whether something comes within this time: an answer, or the end of the connection."""
        if self._reader.has_data():
            return True
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))

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
        return OperationalError(f"the connection to {self._address} was lost: {_reason(error)}")


def check(address: Address, reply: Any, key: Any = "a key") -> Any:
    """The reply to a command on `key`, unless it is an error: then that is raised, as what it means for the caller."""
    if not isinstance(reply, hiredis.ReplyError):
        return reply
    text = str(reply)
    if text.startswith("WRONGKEY"):
        what = text.removeprefix("WRONGKEY ")
        raise BrokerError(f"{address}: key {what}. Something else writes under our names; rename or delete that key")
    if text.startswith("WRONGTYPE"):
        raise BrokerError(
            f"{address}: {key} is of another type than ours. Something else writes under our names ({text})"
        )
    if text.startswith(_REFUSED):
        raise BrokerError(
            f"{address} refuses us: {text}. Check user and password in the URL, and the user's permissions"
        )
    if text.startswith(_PASSING):
        raise OperationalError(f"{address} cannot do it now: {text}")
    raise BrokerError(f"{address}: {text}")


def _tls_context(options: Any) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
        wanted = str(options.get("ssl_cert_reqs", "required")).lower().removeprefix("cert_")
        checks_name = str(options.get("ssl_check_hostname", "true")).lower() not in ("false", "0", "no")
        context.check_hostname = checks_name and _CERTIFICATES[wanted] is not ssl.CERT_NONE
        context.verify_mode = _CERTIFICATES[wanted]
        if options.get("ssl_certfile"):
            context.load_cert_chain(
                options["ssl_certfile"], options.get("ssl_keyfile"), options.get("ssl_keyfile_password")
            )
    except KeyError:
        raise ConfigError(f"redis option ssl_cert_reqs is {wanted!r}; it can be none, optional or required") from None
    except OSError as error:
        raise ConfigError(f"the TLS files of the redis URL cannot be used: {error}") from None
    return context


def _left_s(deadline: float) -> float:
    return max(0.01, deadline - time.monotonic())


def _reason(error: OSError | hiredis.ProtocolError | None) -> str:
    if error is None:
        return "the server closed it"
    if not isinstance(error, OSError):
        return f"what answers there is no Redis server ({error})"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return f"no such host ({error.strerror})"
    return error.strerror or str(error)
