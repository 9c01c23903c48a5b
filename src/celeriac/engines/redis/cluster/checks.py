"""What should be known about a cluster before tasks are trusted to it, a sentence each."""

from __future__ import annotations

from celeriac.engines.redis.checks import warnings as of_server
from celeriac.engines.redis.client import Client
from celeriac.engines.redis.cluster.topology import Topology
from celeriac.exceptions import BrokerError

__all__ = ["warnings"]


def warnings(topology: Topology) -> list[str]:
    """What a careful operator would change, once for all masters of which it is true."""
    masters = topology.masters()
    found: dict[str, None] = {}
    for client, _ in masters.values():
        found.update(dict.fromkeys(of_server(client)))
    bare = sorted(f"{host}:{port}" for (host, port), (_, replicas) in masters.items() if replicas == 0)
    if bare:
        found[f"Nobody takes over from {', '.join(bare)} as they have no replica: add some (CLUSTER REPLICATE)"] = None
    if any(_stops_whole(client) for client, _ in masters.values()):
        found["One master without a successor stops all queues: set cluster-require-full-coverage no"] = None
    return list(found)


def _stops_whole(client: Client) -> bool:
    """Whether a slot that nobody serves stops the others; a server that does not let us look is believed not to."""
    try:
        return bool(client.call("CONFIG", "GET", "cluster-require-full-coverage")[1:] == [b"yes"])
    except BrokerError:
        return False
