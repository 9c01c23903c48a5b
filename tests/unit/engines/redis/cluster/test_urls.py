"""Cluster URLs."""

import pytest

from celeriac.engines import open_broker
from celeriac.engines.base import EngineOptions
from celeriac.engines.redis.cluster.urls import parse
from celeriac.exceptions import ConfigError


@pytest.mark.parametrize(
    ("url", "seeds"),
    [
        ("redis+cluster://one:7000,two:7001/", (("one", 7000), ("two", 7001))),
        ("redis+cluster://one,two", (("one", 6379), ("two", 6379))),
        ("redis+cluster://[::1]:7000,10.0.0.1:7001/0", (("::1", 7000), ("10.0.0.1", 7001))),
        ("redis+cluster://", (("localhost", 6379),)),
    ],
)
def test_a_url_names_seeds(url: str, seeds: tuple[tuple[str, int], ...]) -> None:
    assert parse(url, {}, 4.0).seeds == seeds


def test_what_stands_in_a_url_holds_for_every_node() -> None:
    address = parse(
        "rediss+cluster://ann:p%40ss@one:1,two:2/?socket_timeout=3&publish_replicas=1", {"max_connections": 5}, 4.0
    )
    node = address.node(("three", 3))
    assert (node.host, node.port, node.username, node.password) == ("three", 3, "ann", "p@ss")
    assert (node.timeout_s, node.publish_replicas, node.max_connections) == (3.0, 1, 5)
    assert node.tls == {}
    assert str(node) == "rediss://ann:********@three:3/0"


def test_its_text_shows_no_password() -> None:
    address = parse("redis+cluster://ann:secret@one:1,two:2/", {}, 4.0)
    assert str(address) == "redis+cluster://ann:********@one:1,two:2/"
    assert "secret" not in repr(address)


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("redis+cluster://one:1/3", {}, "database 0"),
        ("redis+cluster://one:1/", {"global_keyprefix": "a{b}"}, "braces"),
        ("redis+cluster://one:no,two:2/", {}, "ports from 1 to 65535"),
        ("redis+cluster://one:1,two:99999/", {}, "ports from 1 to 65535"),
        ("redis+cluster://one:1/?colour=red", {}, "colour"),
    ],
)
def test_what_is_wrong_with_a_url_is_said(url: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse(url, options, 4.0)


@pytest.mark.parametrize("scheme", ["redis+cluster", "rediss+cluster"])
def test_the_engine_is_found_by_its_scheme(scheme: str) -> None:
    broker = open_broker(f"{scheme}://one:1,two:2/", EngineOptions("/nowhere"))
    assert broker.describe() == f"{scheme}://one:1,two:2/"
