"""A Redis that speaks TLS alone and asks for a certificate: a worker, its callers, and those who are turned away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from celeriac import Celery
from celeriac.exceptions import OperationalError
from support.certificates import Authority
from support.project import Project
from support.redis_server import RedisServer, free_port

pytestmark = pytest.mark.timeout(120)


class Guarded:
    """The server's TLS port, the authority that both sides trust, and our certificate."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "ca", "authority")
        self.stranger = Authority(folder / "stranger", "stranger")
        self.port = free_port()
        server = self.authority.sign("localhost")
        self.server = RedisServer(
            folder / "redis",
            *("--tls-port", str(self.port), "--tls-auth-clients", "yes"),
            *("--tls-cert-file", str(server.path), "--tls-key-file", str(server.key)),
            *("--tls-ca-cert-file", str(self.authority.certificate.path)),
        )

    def options(self, signed_by: Authority | None = None) -> dict[str, str]:
        """Those with which the server lets us in, or with a certificate of another authority."""
        ours = (signed_by or self.authority).sign("worker")
        trusted = str(self.authority.certificate.path)
        return {"ssl_ca_certs": trusted, "ssl_certfile": str(ours.path), "ssl_keyfile": str(ours.key)}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    guarded = Guarded(tmp_path_factory.mktemp("tls"))
    try:
        guarded.server.start()
    except AssertionError as error:
        if "tls" not in str(error).lower():
            raise
        pytest.skip("this redis-server was built without TLS")
    yield guarded
    guarded.server.kill()


def test_a_worker_and_its_callers_are_let_in_by_their_certificate(project: Project, guarded: Guarded) -> None:
    options = guarded.options()
    url = f"rediss://localhost:{guarded.port}/0"
    project.with_common_tasks(broker_url=url, broker_transport_options=options)
    in_url = "&".join(f"{name}={value}" for name, value in options.items())
    with project.worker("-c", 2) as worker, Celery("client", broker=f"{url}?{in_url}") as app:
        add = app.task(name="tasks.add", typing=False)(lambda x, y: None)
        worker.wait_until_ready()
        assert [result.get(timeout=30) for result in add.delay_many((number, 1) for number in range(50))] == list(
            range(1, 51)
        )
        assert worker.stop() == 0
    assert "ERROR" not in worker.log


def test_tls_settings_are_those_of_the_url(guarded: Guarded) -> None:
    """As with Celery, they also ask for TLS where the URL does not."""
    url = f"redis://localhost:{guarded.port}"
    options = guarded.options()
    with Celery("client", broker=f"{url}/0", backend=f"{url}/1") as app:
        app.conf.update(broker_use_ssl=options, redis_backend_use_ssl=options)
        assert app.broker.queues() == []
        assert app.results.get(["nothing"]) == {}
        assert app.broker.describe() == f"rediss://localhost:{guarded.port}/0"
        assert app.broker.shares_store_with(app.results)


def test_without_a_certificate_we_are_told_how_to_give_one(guarded: Guarded) -> None:
    only_trust = {"ssl_ca_certs": guarded.options()["ssl_ca_certs"]}
    assert "asks for a certificate of ours, name its files in ssl_certfile and ssl_keyfile" in refusal(
        guarded, only_trust
    )


def test_with_a_certificate_that_the_server_does_not_trust_we_are_told_so(guarded: Guarded) -> None:
    assert "does it trust the one in ssl_certfile?" in refusal(guarded, guarded.options(guarded.stranger))


def test_a_server_whose_authority_we_do_not_trust_is_refused(guarded: Guarded) -> None:
    options = {**guarded.options(), "ssl_ca_certs": str(guarded.stranger.certificate.path)}
    assert "does ssl_ca_certs (or this machine) trust its certificate?" in refusal(guarded, options)


def refusal(guarded: Guarded, options: dict[str, str]) -> str:
    with Celery("client", broker=f"rediss://localhost:{guarded.port}/0", broker_transport_options=options) as app:
        with pytest.raises(OperationalError) as caught:
            app.broker.queues()
        return str(caught.value)
