"""A cluster whose nodes speak TLS, ask for a certificate, and tell of each other by name."""

from pathlib import Path

import pytest

from celeriac.engines.base import Ack, Commit, EngineOptions
from celeriac.engines.redis.cluster import open_broker
from celeriac.exceptions import OperationalError
from conformance.making import Producer, claim, commit, outgoing, record
from support.certificates import Authority
from support.redis_cluster import RedisCluster


def test_every_node_is_talked_to_by_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca", "authority")
    server, client = authority.sign("localhost"), authority.sign("worker")
    trusted = str(authority.certificate.path)
    tls = ["--tls-cert-file", str(server.path), "--tls-key-file", str(server.key), "--tls-ca-cert-file", trusted]
    cluster = RedisCluster(tmp_path / "cluster", replicas=0, tls_options=tls)
    try:
        cluster.start()
    except AssertionError as error:
        if "tls" not in str(error).lower():
            raise
        pytest.skip("this redis-server was built without TLS")
    url = f"rediss+cluster://localhost:{cluster.ports[0]}/"
    options = {"ssl_ca_certs": trusted, "ssl_certfile": str(client.path), "ssl_keyfile": str(client.key)}
    queues = tuple(f"queue-{number}" for number in range(8))  # on all masters, but for one chance in a thousand
    try:
        broker = open_broker(url, EngineOptions("/nowhere", 10.0, options))
        Producer(broker).send(*(outgoing(queue, queue) for queue in queues))
        leases = claim(broker, *queues)
        assert len(leases) == 8
        for lease in leases:
            assert commit(broker, Commit(lease.token, Ack(), record(lease.queue, b"1")))
        assert len(broker.result_store().get(queues)) == 8
        assert {port for _, port in broker._topology.masters()} == set(cluster.ports)
        broker.close()
        without = open_broker(url, EngineOptions("/nowhere", 10.0, {"ssl_ca_certs": trusted}))
        with pytest.raises(OperationalError):
            without.queues()
        without.close()
    finally:
        cluster.end()
