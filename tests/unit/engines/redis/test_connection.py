"""What is said when a server cannot be used, and how soon."""

import socket
import subprocess
import time

import hiredis
import pytest

from celeriac.engines.redis.connection import Connection, check, has_moved
from celeriac.engines.redis.urls import parse
from celeriac.exceptions import BrokerError, ConfigError, OperationalError
from support.redis_server import RedisServer, free_port


def open_one(url, timeout_s=5.0, **options):
    return Connection(parse(url, options, timeout_s))


def refused(url, **options):
    with pytest.raises(BrokerError) as caught:
        open_one(url, **options).close()
    return caught.value


def test_nobody_there():
    port = free_port()
    error = refused(f"redis://me:pw@127.0.0.1:{port}/2")
    assert isinstance(error, OperationalError)
    assert str(error) == (
        f"redis://me:********@127.0.0.1:{port}/2 cannot be reached: Connection refused. Is the server running there?"
    )


def test_no_such_host():
    error = refused("redis://nowhere.invalid:1/0")
    assert isinstance(error, OperationalError)
    assert "no such host" in str(error) or "cannot be reached" in str(error)


def test_no_such_socket(tmp_path):
    assert "No such file" in str(refused(f"unix://{tmp_path}/r.sock"))


def test_a_unix_socket_serves(tmp_path):
    with RedisServer(tmp_path, "--unixsocket", str(tmp_path / "r.sock")):
        connection = open_one(f"unix://{tmp_path}/r.sock?db=3", client_name="unit")
        assert connection.call("CLIENT", "GETNAME") == b"unit"
        assert b"db=3" in connection.call("CLIENT", "INFO")
        connection.close()


@pytest.fixture
def guarded(server):
    """The server with a password and users."""
    server.call("ACL", "SETUSER", "me", "on", ">p@ss/word", "~*", "&*", "+@all")
    server.call("ACL", "SETUSER", "reader", "on", ">pw", "~*", "&*", "+@read", "+select")
    yield server
    server.call("ACL", "DELUSER", "me", "reader")


def test_user_and_password_of_the_url_are_used(guarded):
    connection = open_one(f"redis://me:p%40ss%2Fword@127.0.0.1:{guarded.port}/0")
    assert connection.call("ACL", "WHOAMI") == b"me"
    connection.close()


@pytest.mark.parametrize("login", ["me:wr0ng", "nobody:wr0ng"])
def test_a_wrong_password_is_no_outage(guarded, login):
    error = refused(f"redis://{login}@127.0.0.1:{guarded.port}/0")
    assert not isinstance(error, OperationalError)
    assert "WRONGPASS" in str(error)
    assert "user and password in the URL" in str(error)
    assert "wr0ng" not in str(error)


def test_a_missing_password_is_said(tmp_path):
    with RedisServer(tmp_path) as server:
        server.call("CONFIG", "SET", "requirepass", "pw")
        error = refused(server.url())
        assert not isinstance(error, OperationalError)
        assert "NOAUTH" in str(error)
        open_one(f"redis://:pw@127.0.0.1:{server.port}/0").close()


def test_a_password_where_none_is_set_is_said(server):
    assert "refuses us" in str(refused(f"redis://:pw@127.0.0.1:{server.port}/0"))


def test_what_a_user_may_not_do_is_said(guarded):
    connection = open_one(f"redis://reader:pw@127.0.0.1:{guarded.port}/0")
    with pytest.raises(BrokerError, match="NOPERM") as caught:
        connection.call("SET", "a", "b")
    assert not isinstance(caught.value, OperationalError)
    assert connection.call("GET", "a") is None
    connection.close()


def test_a_database_that_is_not_there(server):
    error = refused(server.url(99))
    assert not isinstance(error, OperationalError)
    assert "DB index is out of range" in str(error)


def test_a_full_server_is_an_outage(server):
    server.call("CONFIG", "SET", "maxmemory", "1")
    try:
        connection = open_one(server.url())
        with pytest.raises(OperationalError, match="OOM"):
            connection.call("SET", "a", "b")
        connection.close()
    finally:
        server.call("CONFIG", "SET", "maxmemory", "0")


@pytest.mark.parametrize("word", ["LOADING", "BUSY", "MISCONF", "READONLY", "MASTERDOWN"])
def test_not_now_is_an_outage(puppet, word):
    error = refused(puppet(lambda *_: f"-{word} for now\r\n".encode()).url)
    assert isinstance(error, OperationalError)
    assert f"cannot do it now: {word}" in str(error)


@pytest.mark.parametrize(
    "answer",
    ["READONLY You can't write", "ERR Error running script (call to f_1): @user_script:1: -READONLY You can't"],
)
def test_a_replica_is_known_by_its_answer_also_from_within_a_script(answer):
    reply = hiredis.ReplyError(answer)
    assert has_moved(reply)
    with pytest.raises(OperationalError, match="cannot do it now: READONLY You can't"):
        check(parse("redis://", {}, 5.0), reply)


def test_something_that_is_no_redis_is_said(puppet):
    error = refused(puppet(lambda *_: b"HTTP/1.1 400 Bad Request\r\n\r\n").url)
    assert isinstance(error, OperationalError)
    assert "no Redis server" in str(error)


def test_a_server_that_says_nothing_costs_the_deadline(puppet):
    began = time.monotonic()
    error = refused(puppet(lambda *_: None).url, timeout_s=0.3)
    assert 0.25 < time.monotonic() - began < 5
    assert isinstance(error, OperationalError)
    assert "no answer in time" in str(error)


def test_a_server_that_does_not_accept_costs_the_deadline():
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        fillers = [socket.socket() for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        began = time.monotonic()
        assert isinstance(refused(f"redis://127.0.0.1:{deaf.getsockname()[1]}/0", timeout_s=0.3), OperationalError)
        assert time.monotonic() - began < 5
        for filler in fillers:
            filler.close()


def test_a_connection_that_was_cut_is_lost_in_words(server):
    connection = open_one(server.url())
    server.kill()
    with pytest.raises(OperationalError, match=r"127\.0\.0\.1.* was lost: "):
        connection.call("PING")
    connection.close()


# ── TLS ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """A server with a self-signed certificate for localhost: its TLS port, and the certificate."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    where = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *where], check=True, capture_output=True)
    port = free_port()
    options = ["--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
    server = RedisServer(folder, *options, "--tls-auth-clients", "no")
    try:
        server.start()
    except AssertionError as error:
        if "tls" not in str(error).lower():
            raise
        pytest.skip("this redis-server was built without TLS")
    yield port, certificate
    server.kill()


def test_a_trusted_certificate_is_accepted(tls):
    port, certificate = tls
    connection = open_one(f"rediss://localhost:{port}/0?ssl_ca_certs={certificate}")
    payload = b"x" * 3_000_000
    assert connection.call("SET", "large", payload) == b"OK"
    assert connection.call("GET", "large") == payload
    assert not connection.readable(0)
    connection.close()


def test_an_unknown_certificate_is_refused_in_words(tls):
    error = refused(f"rediss://localhost:{tls[0]}/0")
    assert isinstance(error, OperationalError)
    assert "ssl_ca_certs" in str(error)


def test_another_name_in_the_certificate_is_refused_unless_told_otherwise(tls):
    port, certificate = tls
    url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}"
    assert "certificate" in str(refused(url))
    open_one(f"{url}&ssl_check_hostname=false").close()


@pytest.mark.parametrize("none", ["none", "CERT_NONE", "0"])
def test_certificates_are_not_checked_if_told_so(tls, none):
    open_one(f"rediss://127.0.0.1:{tls[0]}/0?ssl_cert_reqs={none}").close()


def test_plain_and_tls_do_not_mix(tls, server):
    assert isinstance(refused(f"redis://localhost:{tls[0]}/0", timeout_s=1.0), OperationalError)
    assert "does it speak TLS" in str(refused(f"rediss://localhost:{server.port}/0", timeout_s=1.0))


@pytest.mark.parametrize(
    ("option", "said"), [("ssl_cert_reqs=maybe", "required"), ("ssl_ca_certs=/no/file", "TLS files")]
)
def test_wrong_tls_options_are_said(option, said):
    with pytest.raises(ConfigError, match=said):
        open_one(f"rediss://localhost:1/0?{option}")
