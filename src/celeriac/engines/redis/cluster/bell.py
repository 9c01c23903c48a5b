"""How an idle child sleeps until there is work in one of several queues, which may lie on several masters.

For each queue a `BLPOP` on a connection of its own waits for rings, as a single server's bell does for all. It stays
outstanding between waits. A queue whose master is away is listened to again as soon as it can be; meanwhile, and for a ring
that a failover has swallowed, the courier's own look each second must do. There are no producers here that ring no bells.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Sequence

from celeriac.engines.redis.cluster.shard import Shard
from celeriac.engines.redis.cluster.topology import Topology
from celeriac.engines.redis.connection import Connection, check
from celeriac.exceptions import BrokerError, OperationalError

__all__ = ["Bells"]

_BLOCK_S = 5
_AGAIN_S = 0.25


class Bells:
    """The bells of this process, one for each queue. `wait` from one thread; `wake` from any."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._ears: dict[str, _Ear] = {}
        self._closing = threading.Lock()
        self._pipe_read, self._pipe_write = os.pipe()
        os.set_blocking(self._pipe_read, False)
        os.set_blocking(self._pipe_write, False)

    def wait(self, timeout_s: float, parked: Sequence[Shard]) -> None:
        """Until rung for one of these, woken, or time; raises `OperationalError` when none of them can be listened to."""
        end = time.monotonic() + timeout_s
        while True:
            listening = self._listen(parked)
            left_s = max(0.0, end - time.monotonic())
            poll = select.poll()
            poll.register(self._pipe_read, select.POLLIN)
            for ear in listening:
                poll.register(ear.fileno(), select.POLLIN)
            deaf = not all(self._ears[shard.queue].is_open for shard in parked)
            ready = {fd for fd, _ in poll.poll(1000 * (min(left_s, _AGAIN_S) if deaf else left_s))}
            if self._pipe_read in ready:
                os.read(self._pipe_read, 4096)
            rung = [ear for ear in listening if ear.fileno() in ready and self._hears(ear)]
            if rung or self._pipe_read in ready or left_s == 0:
                return

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
        for ear in self._ears.values():
            ear.close()
        self._ears.clear()
        with self._closing:
            if self._pipe_read >= 0:
                os.close(self._pipe_read)
                os.close(self._pipe_write)
                self._pipe_read = self._pipe_write = -1

    def _listen(self, parked: Sequence[Shard]) -> list[_Ear]:
        """The ears that are open. Also those of queues that we are not parked in: a ring may be on its way."""
        trouble: BrokerError | None = None
        for shard in parked:
            ear = self._ears.setdefault(shard.queue, _Ear(shard))
            try:
                ear.listen(self._topology)
            except BrokerError as error:
                self._deafen(ear)
                trouble = error
        listening = [ear for ear in self._ears.values() if ear.is_open]
        if trouble is not None and not listening:
            raise trouble
        return listening

    def _hears(self, ear: _Ear) -> bool:
        """Take a ring; False for what is none. The queue's place may have moved, which is found out by listening again."""
        try:
            ear.take()
        except BrokerError:
            self._deafen(ear)
            return False
        return True

    def _deafen(self, ear: _Ear) -> None:
        ear.close()
        self._topology.doubt()


class _Ear:
    """A connection on which rings for one queue are waited for."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._connection: Connection | None = None
        self._asked_at: float | None = None
        self._again_at = 0.0

    @property
    def is_open(self) -> bool:
        return self._connection is not None and self._asked_at is not None

    def fileno(self) -> int:
        assert self._connection is not None
        return self._connection.fileno()

    def listen(self, topology: Topology) -> None:
        """Ask for the next ring, unless that has been done."""
        address = self._shard.client.address
        if self.is_open and self._asked_at is not None:
            if time.monotonic() - self._asked_at <= _BLOCK_S + address.timeout_s:
                return
            raise OperationalError(f"{address} has stopped answering")
        if time.monotonic() < self._again_at:
            return
        if self._connection is None:
            self._connection = Connection(topology.client(self._shard.slot).address)
        self._connection.send("BLPOP", self._shard.bell_key, _BLOCK_S)
        self._asked_at = time.monotonic()

    def take(self) -> None:
        assert self._connection is not None
        self._asked_at = None
        check(self._shard.client.address, self._connection.receive(), self._shard.bell_key)

    def close(self) -> None:
        """Let go of the connection, and try again in a moment."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._asked_at = None
        self._again_at = time.monotonic() + _AGAIN_S
