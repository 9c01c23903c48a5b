"""The nodes of a cluster: a map of the slots, a client for each master, and what to do when either is wrong.

Replicas are never read. The map is asked for again after a redirection, a lost connection or an answer that means "not
now", from whichever node answers first; while none does, not more often than every tenth of a second.
"""

from __future__ import annotations

import os
import random
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any

import hiredis
import msgspec
from msgspec.structs import replace

from celeriac.engines.redis.client import Client
from celeriac.engines.redis.cluster.slots import Endpoint, SlotMap
from celeriac.engines.redis.cluster.urls import ClusterAddress
from celeriac.engines.redis.connection import Connection, Redirected, check
from celeriac.engines.redis.urls import Address
from celeriac.exceptions import BrokerError, ConfigError, OperationalError

__all__ = ["Call", "Topology"]

_REFRESH_S = 0.1
_ASK_TIMEOUT_S = 1.0
_MOST_REDIRECTIONS = 5
_MOST_TOGETHER = 256
_REPLICAS_MS = 500

_topologies: weakref.WeakSet[Topology] = weakref.WeakSet()


class Call(msgspec.Struct, frozen=True):
    """A command on keys of one slot, and the longer one that a node needs which does not know its script."""

    slot: int
    command: tuple[Any, ...]
    with_source: tuple[Any, ...] | None = None


class Topology:
    """Thread-safe; a forked child keeps the map and starts without connections."""

    def __init__(self, address: ClusterAddress) -> None:
        self.address = address
        self._map = SlotMap()
        self._doubted: set[Endpoint] = set()
        self._stale = True
        self._asked_at = -_REFRESH_S
        #: Grows with every new map: what was learnt of a cluster that has changed since may have been taken back.
        self.version = 0
        self._clients: dict[Endpoint, Client] = {}
        self._lock = threading.Lock()
        _topologies.add(self)

    def client(self, slot: int) -> Client:
        """The client of the master that serves the slot; raises `OperationalError` when nobody does."""
        owner = self._current().owners[slot]
        if owner is None:
            self._stale = True
            raise OperationalError(f"{self.address}: no master serves slot {slot} now")
        return self._client(owner)

    def owner(self, slot: int) -> Endpoint | None:
        """Who served the slot when that was last asked."""
        return self._map.owners[slot]

    def hurry(self, timeout_s: float) -> None:
        """Wait no longer than this for any answer, from now on."""
        address = self.address
        quicker = replace(
            address,
            timeout_s=min(address.timeout_s, timeout_s),
            connect_timeout_s=min(address.connect_timeout_s, timeout_s),
        )
        if quicker != address:
            self.address, self._clients = quicker, {}

    def masters(self) -> dict[Endpoint, tuple[Client, int]]:
        """A client for each master, and how many replicas it has."""
        slots = self._current()
        return {owner: (self._client(owner), len(slots.replicas[owner])) for owner in slots.masters if slots.replicas}

    def some_node(self) -> Address:
        """Any node that was not doubted last, for what every node can do."""
        endpoints = [end for end in self._current().endpoints if end not in self._doubted]
        return self.address.node(random.choice(endpoints or self._map.endpoints))

    def doubt(self, address: Address | None = None) -> None:
        """Something went wrong (with that node): the map is asked for again before it is used again."""
        self._stale = True
        if address is not None:
            self._doubted.add((address.host, address.port))

    def learn(self, redirected: Redirected) -> None:
        """A node has named the master of a slot."""
        with self._lock:
            self._map = self._map.moved(redirected.slot, self._named(redirected))
            self._stale = True
            self.version += 1

    def call(self, calls: Sequence[Call], *, confirmed: bool = False) -> list[Any]:
        """Carry out commands on any slots, those for one master together; raises for the first error.

        Some may have been carried out then, and some not. With `confirmed`, and where `publish_replicas` is set, it waits
        for as many of the replicas as are there. It does not insist: what is called so settles work, which has to go on
        where a failover has used up the replicas.
        """
        replies: list[Any] = [None] * len(calls)
        left = dict(enumerate(calls))
        for _ in range(_MOST_REDIRECTIONS):
            again: dict[int, Call] = {}
            for address, numbers in self._by_master(left).items():
                for number, reply in self._call_master(address, numbers, left, confirmed):
                    again |= self._judge(number, left[number], reply, replies)
            if not again:
                return replies
            left = again
        raise OperationalError(f"{self.address}: the slots are being moved around")

    def close(self) -> None:
        """Close what is idle; the next call connects again."""
        for client in list(self._clients.values()):
            client.close()

    # ── the pieces of call ───────────────────────────────────────────────────────────────────────────────────────────

    def _by_master(self, calls: dict[int, Call]) -> dict[Endpoint, list[int]]:
        numbers: dict[Endpoint, list[int]] = {}
        for number, call in calls.items():
            address = self.client(call.slot).address
            numbers.setdefault((address.host, address.port), []).append(number)
        return numbers

    def _call_master(
        self, address: Endpoint, numbers: list[int], calls: dict[int, Call], confirmed: bool
    ) -> list[tuple[int, Any]]:
        client, found = self._client(address), list[tuple[int, Any]]()
        replicas = min(self.address.publish_replicas, len((self._map.replicas or {}).get(address, ())))
        try:
            with client.connection() as connection:
                for start in range(0, len(numbers), _MOST_TOGETHER):
                    some = numbers[start : start + _MOST_TOGETHER]
                    found += zip(some, connection.call_many([calls[number].command for number in some]), strict=True)
                if confirmed and replicas and connection.call("WAIT", replicas, _REPLICAS_MS) < replicas:
                    self.doubt()  # there may be fewer by now
        except OperationalError:
            self.doubt(client.address)
            raise
        return found

    def _judge(self, number: int, call: Call, reply: Any, replies: list[Any]) -> dict[int, Call]:
        """Keep the reply, or return the call as it is to be made again."""
        if isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT") and call.with_source:
            return {number: Call(call.slot, call.with_source)}
        try:
            replies[number] = check(self.address, reply, call.command[1])
        except Redirected as redirected:
            if not redirected.once:
                self.learn(redirected)
                return {number: call}
            replies[number] = self._ask(redirected, call)
        except OperationalError:
            self.doubt()
            raise
        return {}

    def _ask(self, redirected: Redirected, call: Call) -> Any:
        """The slot is on its way to another master, and this key is there already."""
        with self._client(self._named(redirected)).connection() as connection:
            connection.call("ASKING")
            return connection.call(*(call.with_source or call.command))

    # ── the map ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _named(self, redirected: Redirected) -> Endpoint:
        return redirected.host or self.address.seeds[0][0], redirected.port

    def _client(self, endpoint: Endpoint) -> Client:
        client = self._clients.get(endpoint)
        if client is None:
            client = self._clients.setdefault(endpoint, Client(self.address.node(endpoint)))
        return client

    def _current(self) -> SlotMap:
        if not self._stale:
            return self._map
        with self._lock:
            if time.monotonic() - self._asked_at >= _REFRESH_S:  # nor by everyone who waited for the lock
                self._refresh()
            if not self._map.replicas:
                raise OperationalError(
                    f"{self.address}: no node of the cluster answers. Are the servers running there?"
                )
            return self._map

    def _refresh(self) -> None:
        known = [*self._map.endpoints, *(seed for seed in self.address.seeds if seed not in self._map.endpoints)]
        random.shuffle(known)
        known.sort(key=lambda endpoint: endpoint in self._doubted)
        for endpoint in known:
            try:
                fresh = self._ask_for_map(endpoint)
            except OperationalError:
                self._doubted.add(endpoint)
                continue
            if not fresh.replicas:
                continue  # a node that was forgotten by the others serves nothing
            self._stale = False
            self._doubted.clear()
            if fresh != self._map:
                self._map = fresh
                self.version += 1
            break
        self._asked_at = time.monotonic()

    def _ask_for_map(self, endpoint: Endpoint) -> SlotMap:
        address = self.address.node(endpoint)
        patience_s = min(_ASK_TIMEOUT_S, address.connect_timeout_s)
        connection = Connection(replace(address, connect_timeout_s=patience_s, timeout_s=patience_s))
        try:
            return SlotMap.from_reply(connection.call("CLUSTER", "SLOTS"), endpoint)
        except BrokerError as error:
            if "cluster support disabled" in str(error):
                raise ConfigError(f"{address} is a single server, no node of a cluster: use redis:// for it") from None
            raise
        finally:
            connection.close()

    def _after_fork(self) -> None:
        self._lock = threading.Lock()


def _after_fork() -> None:
    for topology in list(_topologies):
        topology._after_fork()


os.register_at_fork(after_in_child=_after_fork)
