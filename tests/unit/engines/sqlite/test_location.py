from pathlib import Path

import pytest

from celeriac.engines.sqlite.location import Location, is_mount_point, network_file_system, parse
from celeriac.exceptions import ConfigError


@pytest.mark.parametrize("url", [":memory:", "memory:", "memory://", "sqlite://:memory:", "sqlite:///:memory:"])
def test_memory_has_no_path(url):
    assert parse(url, "/proj", {}, {}) == Location(None)
    assert str(parse(url, "/proj", {}, {})) == ":memory:"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite://", "/proj/.celeriac/celeriac.db"),
        ("sqlite:///", "/proj/.celeriac/celeriac.db"),
        ("sqlite:", "/proj/.celeriac/celeriac.db"),
        ("sqlite:///a.db", "/proj/a.db"),
        ("sqlite:///sub/a.db", "/proj/sub/a.db"),
        ("sqlite:////var/lib/a.db", "/var/lib/a.db"),
        ("sqlite:///with%20space.db", "/proj/with space.db"),
        ("sqlite:///Zürich.db", "/proj/Zürich.db"),
    ],
)
def test_a_url_names_a_file_as_sqlalchemys_do(url, path):
    assert parse(url, "/proj", {}, {}).path == Path(path)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite://", "/home/store/celeriac.db"),
        ("sqlite:///a.db", "/home/store/a.db"),
        ("sqlite:////abs/a.db", "/abs/a.db"),
    ],
)
def test_celeriac_home_is_where_relative_paths_begin(url, path):
    assert parse(url, "/proj", {}, {"CELERIAC_HOME": "/home/store"}).path == Path(path)


def test_an_empty_celeriac_home_is_none():
    assert parse("sqlite:///a.db", "/proj", {}, {"CELERIAC_HOME": ""}).path == Path("/proj/a.db")


def test_a_tilde_is_the_users_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert parse("sqlite:///~/a.db", "/proj", {}, {}).path == Path("/home/me/a.db")


def test_a_relative_folder_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse("sqlite:///a.db", "proj", {}, {}).path == tmp_path / "proj" / "a.db"


def test_a_location_shows_its_url():
    assert str(parse("sqlite:///a.db", "/proj", {}, {})) == "sqlite:////proj/a.db"


@pytest.mark.parametrize(
    ("url", "options", "synchronous"),
    [
        ("sqlite:///a.db", {}, "full"),
        ("sqlite:///a.db", {"synchronous": "NORMAL"}, "normal"),
        ("sqlite:///a.db?synchronous=normal", {}, "normal"),
        ("sqlite:///a.db?synchronous=full", {"synchronous": "normal"}, "full"),
    ],
)
def test_options_come_from_the_settings_and_the_url_wins(url, options, synchronous):
    assert parse(url, "/proj", options, {}).synchronous == synchronous


@pytest.mark.parametrize(
    ("url", "options", "why"),
    [
        ("sqlite://server/a.db", {}, "names a server, but SQLite has none: write sqlite:///name.db"),
        ("sqlite://a.db", {}, "names a server"),
        ("memory://x", {}, "names a server"),
        ("sqlite://?synchronous=off", {}, "synchronous is 'off'; it can be full or normal"),
        ("sqlite://", {"synchronous": True}, "synchronous is 'true'"),
        ("sqlite://?sync=full", {}, "no option sync; it knows synchronous"),
        ("sqlite://", {"cache": 1, "size": 2}, "no option cache, size"),
    ],
)
def test_what_is_wrong_is_told_with_what_to_write(url, options, why):
    with pytest.raises(ConfigError) as caught:
        parse(url, "/proj", options, {})
    assert why in str(caught.value)


MOUNTS = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:26 / /home rw shared:2 - nfs4 server:/home rw,vers=4.2
31 30 0:27 / /home/local rw - xfs /dev/sdb1 rw
32 22 0:28 / /mnt/my\040share rw - cifs //server/share rw
33 22 0:29 / /mnt/Zürich rw - fuse.sshfs me@host: rw
34 22 0:30 / /data rw - nfs server:/data rw
35 22 0:31 / /data rw - ext4 /dev/sdc1 rw
a broken line
36 22 0:32
"""


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/var/lib", None),
        ("/home", "nfs4"),
        ("/home/me/proj", "nfs4"),
        ("/home/local/proj", None),
        ("/homeless", None),
        ("/mnt/my share/proj", "cifs"),
        ("/mnt/Zürich/proj", "fuse.sshfs"),
        ("/data/proj", None),
        ("/", None),
    ],
)
def test_a_network_file_system_is_recognised_by_the_mount_that_holds_the_path(path, found):
    assert network_file_system(Path(path), MOUNTS) == found


def test_without_a_mount_table_nothing_is_recognised():
    assert network_file_system(Path("/home"), "") is None


def test_a_root_on_a_network_is_recognised():
    assert network_file_system(Path("/srv"), "1 0 0:1 / / rw - nfs server:/ rw") == "nfs"


def test_a_file_that_is_mounted_alone_is_recognised():
    assert is_mount_point(Path("/mnt/my share"), MOUNTS)
    assert not is_mount_point(Path("/mnt/my share/store.db"), MOUNTS)
    assert not is_mount_point(Path("/mnt"), MOUNTS)
