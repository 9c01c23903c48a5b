"""What should be known about a server before tasks are trusted to it, a sentence each."""

from __future__ import annotations

from celeriac.engines.redis.client import Client
from celeriac.exceptions import BrokerError

__all__ = ["warnings"]

_OLDEST = (6, 2)


def warnings(client: Client) -> list[str]:
    """What a careful operator would change; raises `BrokerError` for a server that is too old."""
    try:
        facts = _facts(client)
    except BrokerError as error:
        if "NOPERM" not in str(error):
            raise
        return []  # a user who may not look need not be told
    version = facts.get("redis_version", "")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers and numbers < _OLDEST:
        raise BrokerError(
            f"{client.address} runs Redis {version}; celeriac needs {'.'.join(map(str, _OLDEST))} or newer (or any Valkey)"
        )
    found = []
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        found.append(
            f"Redis may delete tasks when its memory is full (maxmemory-policy {policy}): set maxmemory-policy noeviction"
        )
    if facts.get("aof_enabled") == "0" and not _saves(client):
        found.append("Redis keeps nothing on disk, so a restart of it loses all tasks: set appendonly yes")
    wanted, connected = client.address.publish_replicas, int(facts.get("connected_slaves", "0"))
    if connected < wanted:
        found.append(
            f"Redis has {connected} connected replicas, so publishing with publish_replicas={wanted} fails: "
            "see that the replicas are up, or lower publish_replicas"
        )
    return found


def _facts(client: Client) -> dict[str, str]:
    facts: dict[str, str] = {}
    for section in ("server", "memory", "persistence", "replication"):
        for line in client.call("INFO", section).decode().splitlines():
            name, colon, value = line.partition(":")
            if colon:
                facts[name] = value
    return facts


def _saves(client: Client) -> bool:
    """Whether snapshots are on; a server that does not let us look is believed to."""
    try:
        answer = client.call("CONFIG", "GET", "save")
    except BrokerError:
        return True
    return bool(answer and len(answer) > 1 and answer[1])
