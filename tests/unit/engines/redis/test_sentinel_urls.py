"""Sentinel URLs and their options."""

import pytest

from celeriac.engines.redis.sentinel import connect
from celeriac.engines.redis.sentinel_urls import parse
from celeriac.engines.redis.urls import Address
from celeriac.exceptions import ConfigError, OperationalError

NAMED = {"master_name": "mymaster"}


def read(url: str, **options: object) -> Address:
    return parse(url, {**NAMED, **options}, 4.0)


def hosts(address: Address) -> list[tuple[str, int]]:
    assert address.sentinels is not None
    return [(sentinel.host, sentinel.port) for sentinel in address.sentinels.sentinels]


@pytest.mark.parametrize(
    "url",
    [
        "sentinel://a:1;sentinel://b:2/0",
        "sentinel://a:1/0;sentinel://b:2/0",
        "sentinel://a:1;b:2/0",
        "redis+sentinel://a:1;redis+sentinel://b:2",
    ],
)
def test_a_list_of_sentinels_is_read_as_celery_reads_it(url):
    address = read(url)
    assert hosts(address) == [("a", 1), ("b", 2)]
    assert address.database == 0
    assert address.sentinels.master_name == "mymaster"


def test_one_sentinel_is_enough_and_its_port_may_be_left_out():
    assert hosts(read("sentinel://a/3")) == [("a", 26379)]
    assert read("sentinel://a/3").database == 3


def test_user_and_password_are_the_redis_servers_and_those_of_sentinels_stand_in_sentinel_kwargs():
    address = read("sentinel://u:p%3B@a;sentinel://u:p%3B@b/0", sentinel_kwargs={"username": "s", "password": "t"})
    assert (address.username, address.password) == ("u", "p;")
    assert {(one.username, one.password) for one in address.sentinels.sentinels} == {("s", "t")}


def test_tls_of_sentinels_is_their_own():
    address = read("sentinel://a", sentinel_kwargs={"ssl": True, "ssl_ca_certs": "/ca"})
    assert address.tls is None
    assert address.sentinels.sentinels[0].tls == {"ssl_ca_certs": "/ca"}
    assert read("rediss+sentinel://a").tls == {}
    assert read("rediss+sentinel://a").sentinels.sentinels[0].tls is None
    assert parse("sentinel://a", NAMED, 4.0, {"ssl_ca_certs": "/ca"}).tls == {"ssl_ca_certs": "/ca"}


def test_the_masters_name_may_stand_in_the_url():
    address = parse("sentinel://a;sentinel://b/0?master_name=orders&publish_replicas=1", {}, 4.0)
    assert (address.sentinels.master_name, address.publish_replicas) == ("orders", 1)


def test_the_time_to_connect_leaves_some_for_each_sentinel_and_the_master():
    address = read("sentinel://a;sentinel://b;sentinel://c")
    assert {one.connect_timeout_s for one in address.sentinels.sentinels} == {1.0}


def test_the_order_of_sentinels_makes_no_other_server():
    assert read("sentinel://a;sentinel://b").server == read("sentinel://b/2;sentinel://a/2").server
    assert read("sentinel://a").server != read("sentinel://a", master_name="other").server


def test_no_text_shows_a_password():
    address = read("sentinel://:geheim@a;sentinel://:geheim@b/0", sentinel_kwargs={"password": "auch geheim"})
    assert str(address) == "sentinel://:********@a:26379;b:26379/0?master_name=mymaster"
    assert "geheim" not in repr(address)


@pytest.mark.parametrize(
    ("url", "options", "said"),
    [
        ("sentinel://a", {"master_name": ""}, "master_name"),
        ("sentinel://a;redis://b", {}, "a list of sentinels is"),
        ("sentinel://:x@a;sentinel://:y@b", {}, "different users or passwords"),
        ("sentinel://a/1;sentinel://b/2", {}, "different databases"),
        ("sentinel://a;sentinel://b/2", {}, "behind the first sentinel"),
        ("sentinel://a", {"min_other_sentinels": "two"}, "min_other_sentinels"),
        ("sentinel://a", {"sentinel_kwargs": {"pasword": "x"}}, "no pasword"),
        ("sentinel://a", {"publish_replica": 1}, "no option publish_replica"),
        ("sentinel://a:x", {}, "port"),
    ],
)
def test_what_is_wrong_is_said(url, options, said):
    with pytest.raises(ConfigError, match=said):
        read(url, **options)


def test_sentinels_by_tls_are_remembered_like_others():
    """Which of them answered last, by a key that options of TLS are no part of."""
    address = read("sentinel://127.0.0.1:1", sentinel_kwargs={"ssl": True})
    with pytest.raises(OperationalError, match=r"sentinel rediss://127\.0\.0\.1:1/0 cannot be reached"):
        connect(address)
