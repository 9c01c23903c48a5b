"""Finding the server: where Redis Sentinel watches over it, by asking who is the master now.

Asked anew for every connection, so whatever loses its connection follows a failover by connecting again. A sentinel may be
late, and a master that comes back believes for a moment that it still is one; so the server is asked for its role as well,
and the old one refuses us (READONLY) or cuts us off as soon as the sentinels have told it.
"""

from __future__ import annotations

import time

import hiredis
from msgspec.structs import replace

from celeriac.engines.redis.connection import Connection
from celeriac.engines.redis.urls import Address, Sentinels
from celeriac.exceptions import BrokerError, OperationalError

__all__ = ["connect"]

#: By `Address.server`, which of its sentinels answered last: it is asked first. Only a hint, so threads may overwrite it.
_answered: dict[str, Address] = {}


def connect(address: Address) -> Connection:
    """A connection to the server of an address; raises `OperationalError` by its connect time-out."""
    if address.sentinels is None:
        return Connection(address)
    return _connect_to_master(address, address.sentinels)


def _connect_to_master(address: Address, group: Sentinels) -> Connection:
    deadline = time.monotonic() + address.connect_timeout_s
    troubles: list[BrokerError] = []
    tried: set[tuple[str, int]] = set()
    for sentinel in _in_order(address.server, group):
        try:
            where = _ask(sentinel, group, deadline)
            if where in tried:
                continue
            tried.add(where)
            connection = _master_at(where, address, sentinel, deadline)
        except OperationalError as error:
            troubles.append(error)
        except BrokerError as error:
            if not isinstance(error, _SentinelRefuses):
                raise  # the master refuses us: another sentinel would lead to the same one
            troubles.append(error)
        else:
            _answered[address.server] = sentinel
            return connection
    kind = BrokerError if all(isinstance(trouble, _SentinelRefuses) for trouble in troubles) else OperationalError
    raise kind(f"{address}: {'; '.join(map(str, troubles))}")


class _SentinelRefuses(BrokerError):
    """A sentinel answers, and its answer is no master."""


def _in_order(server: str, group: Sentinels) -> list[Address]:
    first = _answered.get(server)
    return sorted(group.sentinels, key=lambda sentinel: sentinel != first)


def _ask(sentinel: Address, group: Sentinels, deadline: float) -> tuple[str, int]:
    """Where this sentinel sees the master."""
    # Each has its share of the time, and one that does not answer leaves enough for the others and for the master.
    share_s = max(0.05, min(sentinel.connect_timeout_s, (deadline - time.monotonic()) / 2))
    try:
        connection = Connection(replace(sentinel, connect_timeout_s=share_s, timeout_s=share_s), greeting=("PING",))
    except OperationalError as error:
        raise OperationalError(f"sentinel {error}") from None
    except BrokerError as error:
        raise _SentinelRefuses(f"sentinel {error} (for sentinels: in sentinel_kwargs)") from None
    try:
        where, *others = connection.call_many(
            [
                ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", group.master_name),
                *([("SENTINEL", "MASTER", group.master_name)] if group.least_others else []),
            ]
        )
        if isinstance(where, hiredis.ReplyError):
            raise _SentinelRefuses(f"sentinel {sentinel}: {where}. Is it a sentinel?")
        if where is None:
            raise _SentinelRefuses(
                f"sentinel {sentinel} watches no master {group.master_name!r}; it watches {_known(connection)}"
            )
        if others and (known := _others(others[0])) < group.least_others:
            raise OperationalError(
                f"sentinel {sentinel} sees {known} other sentinels, fewer than min_other_sentinels={group.least_others}"
            )
    finally:
        connection.close()
    return where[0].decode(), int(where[1])


def _known(connection: Connection) -> str:
    masters = connection.call("SENTINEL", "MASTERS")
    return ", ".join(repr(_facts(master).get(b"name", b"?").decode()) for master in masters) or "none"


def _others(master: object) -> int:
    return int(_facts(master).get(b"num-other-sentinels", b"0"))


def _facts(flat: object) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=False)) if isinstance(flat, list) else {}


def _master_at(where: tuple[str, int], address: Address, sentinel: Address, deadline: float) -> Connection:
    host, port = where
    left_s = max(0.05, deadline - time.monotonic())
    server = replace(address, host=host, port=port, sentinels=None, connect_timeout_s=left_s)
    try:
        connection = Connection(server)
    except OperationalError as error:
        raise OperationalError(f"the master that sentinel {sentinel} names is down: {error}") from None
    try:
        role = connection.call("ROLE")[0].decode()
        if role != "master":
            raise OperationalError(
                f"{server}, which sentinel {sentinel} calls the master, is a {role}: a failover is under way"
            )
    except BaseException:
        connection.close()
        raise
    return connection
