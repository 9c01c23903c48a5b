"""Messages between the processes of one worker: a socket pair with one pickled value after another.

Both ends are the worker's own processes, made by itself; nothing from outside reaches this socket.
"""

from __future__ import annotations

import array
import os
import pickle
import socket
import struct
from collections.abc import Sequence
from typing import Any

__all__ = ["Channel", "Closed"]

_LENGTH = struct.Struct("=I")


class Closed(Exception):
    """The other end has gone."""


class Channel:
    """One end. `send` and `receive` block; descriptors can go along with a value."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Two connected ends."""
        ours, theirs = socket.socketpair()
        return cls(ours), cls(theirs)

    @classmethod
    def from_fd(cls, fd: int) -> Channel:
        """The end whose descriptor was inherited or received."""
        return cls(socket.socket(fileno=fd))

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, value: Any, fds: Sequence[int] = ()) -> None:
        """Send a value; raises `Closed`."""
        data = pickle.dumps(value)
        try:
            # The descriptors travel with the length, so that a reader of the length has them. All in one call: between two
            # a task could get its turn and keep it, and whoever has read the length would wait for the rest.
            packet = _LENGTH.pack(len(data)) + data
            sent = socket.send_fds(self._socket, [packet], list(fds))
            if sent < len(packet):
                self._socket.sendall(packet[sent:])
        except OSError:
            raise Closed from None

    def send_now(self, value: Any) -> bool:
        """As `send`, but never waiting; False if the other end has not read for long. For small values."""
        data = pickle.dumps(value)
        try:
            packet = _LENGTH.pack(len(data)) + data
            sent = self._socket.send(packet, socket.MSG_DONTWAIT)
            if sent < len(
                packet
            ):  # Linux takes so small a packet whole or not at all; half of one must not stay behind
                self._socket.sendall(packet[sent:])
        except BlockingIOError:
            return False
        except OSError:
            raise Closed from None
        return True

    def receive(self, most_fds: int = 0) -> tuple[Any, list[int]]:
        """The next value and its descriptors; raises `Closed`."""
        fds = array.array("i")
        head = b""
        try:
            while len(head) < _LENGTH.size:
                part, ancillary, _flags, _address = self._socket.recvmsg(
                    _LENGTH.size - len(head), socket.CMSG_SPACE(most_fds * fds.itemsize) if most_fds else 0
                )
                if not part:
                    raise Closed
                head += part
                for level, kind, data in ancillary:
                    if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                        fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
            for fd in fds:
                os.set_inheritable(fd, False)  # what a task starts by exec has no business with them
            return pickle.loads(self._read(_LENGTH.unpack(head)[0])), list(fds)
        except OSError:
            raise Closed from None

    def _read(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            part = self._socket.recv(length - len(data))
            if not part:
                raise Closed
            data += part
        return bytes(data)

    def close(self) -> None:
        """Idempotent."""
        self._socket.close()
