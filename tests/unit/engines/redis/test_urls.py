import ssl

import pytest

from celeriac.engines.redis.urls import SCHEMES, Address, parse
from celeriac.exceptions import ConfigError

SECRET = "s3cr/t?#@ü"
QUOTED = "s3cr%2Ft%3F%23%40%C3%BC"


def address(url, **options):
    return parse(url, options, 4.0)


@pytest.mark.parametrize(
    ("url", "host", "port", "database"),
    [
        ("redis://", "localhost", 6379, 0),
        ("redis:///3", "localhost", 6379, 3),
        ("redis://cache", "cache", 6379, 0),
        ("redis://cache/", "cache", 6379, 0),
        ("redis://cache:7000/15", "cache", 7000, 15),
        ("redis://[::1]:7000/1", "::1", 7000, 1),
        ("REDIS://cache/2", "cache", 6379, 2),
        ("valkey://cache/2", "cache", 6379, 2),
        ("redis://cache/2?db=4", "cache", 6379, 4),
        ("redis://cache?virtual_host=/5", "cache", 6379, 5),
    ],
)
def test_a_url_names_a_database_of_a_server(url, host, port, database):
    found = address(url)
    assert (found.host, found.port, found.database, found.path, found.tls) == (host, port, database, None, None)


@pytest.mark.parametrize("scheme", ["unix", "redis+socket", "valkey+socket"])
def test_a_socket_is_a_path(scheme):
    found = address(f"{scheme}://:pw@/run/with%20space/redis.sock?db=3")
    assert (found.path, found.database, found.password) == ("/run/with space/redis.sock", 3, "pw")
    assert str(found) == "unix://:********@/run/with space/redis.sock?db=3"
    assert found.server == "/run/with space/redis.sock"


@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
def test_tls_is_asked_for_by_the_scheme(scheme):
    found = address(f"{scheme}://cache/1?ssl_cert_reqs=none&ssl_ca_certs=/ca.pem")
    assert found.tls == {"ssl_cert_reqs": "none", "ssl_ca_certs": "/ca.pem"}
    assert str(found) == "rediss://cache:6379/1"
    assert address("redis://cache?ssl_cert_reqs=none").tls is None


def test_every_scheme_is_known_to_the_engines():
    from celeriac import engines
    from celeriac.engines.redis import sentinel_urls

    known = {scheme for scheme, module in engines._ENGINES.items() if module.endswith("redis")}
    assert known == SCHEMES | sentinel_urls.SCHEMES


@pytest.mark.parametrize(
    ("url", "username", "password"),
    [
        ("redis://cache", None, None),
        ("redis://:pw@cache", None, "pw"),
        ("redis://me:pw@cache", "me", "pw"),
        ("redis://me@cache", "me", None),
        (f"redis://m%40e:{QUOTED}@cache", "m@e", SECRET),
        ("redis://:a:b@cache", None, "a:b"),
        ("redis://:100%25@cache", None, "100%"),
    ],
)
def test_users_and_passwords_are_unquoted(url, username, password):
    found = address(url)
    assert (found.username, found.password) == (username, password)


def test_options_come_from_the_url_and_from_settings_which_win():
    found = address(
        "redis://cache?socket_timeout=7&max_connections=3&client_name=web",
        max_connections=5,
        global_keyprefix="proj:",
        visibility_timeout=60,
        socket_connect_timeout=1.5,
        health_check_interval=5,
    )
    assert (found.timeout_s, found.connect_timeout_s, found.max_connections) == (7.0, 1.5, 5)
    assert (found.key_prefix, found.client_name) == ("proj:", "web")
    assert (found.visibility_timeout_s, found.trusted_idle_s) == (60.0, 5.0)


def test_without_options_the_deadline_of_the_app_holds():
    found = parse("redis://cache", {"socket_timeout": None}, 2.5)
    assert (found.timeout_s, found.connect_timeout_s, found.max_connections) == (2.5, 2.5, 10)


def test_options_of_celery_without_meaning_here_are_accepted():
    assert address("redis://cache", fanout_prefix=True, priority_steps=[0], socket_keepalive=True) == Address("cache")


def test_ssl_constants_are_taken_as_celery_takes_them():
    assert address("rediss://cache", ssl_cert_reqs=ssl.CERT_NONE).tls == {"ssl_cert_reqs": str(ssl.CERT_NONE)}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://cache:0x1/0", "port"),
        ("redis://cache:66666/0", "port"),
        ("redis://[::1/0", "brackets"),
        ("redis://cache/zero", "db must be a whole number of at least 0, not 'zero'"),
        ("redis://cache/-1", "db must be"),
        ("redis://cache/1.5", "db must be"),
        ("redis://cache?max_connections=0.5", "max_connections must be"),
        ("redis://cache?max_connections=-1", "max_connections must be"),
        ("redis://cache?socket_timeout=soon", "socket_timeout must be a number"),
        ("redis://cache?socket_timeout=inf", "socket_timeout must be a number"),
        ("redis://cache?visibility_timeout=nan", "visibility_timeout must be a number"),
        ("redis://cache?colour=red", "no option colour; it knows client_name, db,"),
        ("unix://", "needs a path"),
        ("unix://run/redis.sock", "three slashes"),
    ],
)
def test_what_is_wrong_is_said(url, said):
    with pytest.raises(ConfigError) as caught:
        address(url)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:s3cret/7@cache/0",
        "redis://:12/s3cret@cache/0",
        "redis://me:12/s3cret@cache/0",
        "redis://:s3cret?7@cache/0",
        "redis://:12?s3cret@cache/0",
        "redis://:s3cret#7@cache/0",
        "redis://:12#s3cret@cache/0",
        "redis://:s3cret[@cache/0",
        "redis://me:s3cret@cache:bad/0",
        "redis://me:s3cret@cache/bad",
        "redis://me:s3cret@cache?colour=red",
        "unix://me:s3cret@run/redis.sock",
    ],
)
def test_no_error_shows_a_password(url):
    with pytest.raises(ConfigError) as caught:
        address(url)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("url", [f"rediss://me:{QUOTED}@cache:7000/1", f"unix://me:{QUOTED}@/run/r.sock?db=1"])
def test_no_text_shows_a_password(url):
    found = address(url, ssl_keyfile_password=SECRET)
    for text in (str(found), repr(found), f"{found}", found.server):
        assert SECRET not in text
        assert QUOTED not in text
    assert str(found).split("://")[1].startswith("me:********@")


def test_a_user_without_a_password_is_shown():
    assert str(address("redis://me@cache")) == "redis://me@cache:6379/0"
    assert str(address("redis://:pw@cache")) == "redis://:********@cache:6379/0"
