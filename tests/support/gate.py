"""A gate: a running task reports there and waits until the test lets it go on.

So a test knows that a task runs, in which process, and decides when it ends, without any sleeping. The task's side is
`at_gate` in common_tasks.py.
"""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Self

from support.waiting import PATIENCE_S

__all__ = ["Arrival", "Gate"]


class Arrival:
    """A task that waits at the gate."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.settimeout(PATIENCE_S)
        with connection.makefile("r") as lines:
            pid, _, self.word = lines.readline().rstrip("\n").partition(" ")
        self.pid = int(pid)

    def open(self) -> None:
        """Let it go on."""
        try:
            self._connection.sendall(b"\n")
        except OSError:
            pass  # its process is dead
        self._connection.close()


class Gate:
    """Listens on a port of its own; `port` is what tasks are called with."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._socket.getsockname()[1]
        self._arrivals: list[Arrival] = []

    def arrival(self, timeout_s: float = PATIENCE_S) -> Arrival:
        """The next task that comes."""
        self._socket.settimeout(timeout_s)
        try:
            connection, _ = self._socket.accept()
        except TimeoutError:
            raise AssertionError(f"no task came to the gate within {timeout_s:g} s") from None
        arrival = Arrival(connection)
        self._arrivals.append(arrival)
        return arrival

    def stays_empty(self, for_s: float) -> bool:
        """Whether no task comes in that time."""
        self._socket.settimeout(for_s)
        try:
            connection, _ = self._socket.accept()
        except TimeoutError:
            return True
        self._arrivals.append(Arrival(connection))
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for arrival in self._arrivals:
            arrival.open()
        self._socket.close()
