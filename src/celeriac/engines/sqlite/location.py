"""Where a store's file lies.

Producer and worker must meet in the same file wherever each was started, so paths are resolved against the application's
folder and not the current one; `CELERIAC_HOME` overrides. URLs are SQLAlchemy's: `sqlite://` is the default file,
`sqlite:///name.db` relative, `sqlite:////path/name.db` absolute, `:memory:`, `sqlite://:memory:` or `memory://` one process.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from celeriac.exceptions import ConfigError

__all__ = ["HOME_FOLDER", "Location", "is_mount_point", "network_file_system", "parse"]

HOME_FOLDER = ".celeriac"
_DEFAULT_NAME = "celeriac.db"
_SYNCHRONOUS = ("full", "normal")
#: How the mount table writes blanks and backslashes.
_ESCAPED = re.compile(r"\\([0-7]{3})")

#: SQLite's locks and shared memory do not hold between machines on these.
_NETWORK_TYPES = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "coda", "fuse.ceph", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs"}
    | {"glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs", "sshfs"}
)


class Location(msgspec.Struct, frozen=True):
    """A store's file (None: in memory) and how carefully it is written."""

    path: Path | None
    synchronous: str = "full"

    def __str__(self) -> str:
        return ":memory:" if self.path is None else f"sqlite:///{self.path}"


def parse(url: str, folder: str, options: Mapping[str, object], environ: Mapping[str, str] = os.environ) -> Location:
    """The location that a URL names; raises `ConfigError` with the forms that are understood."""
    if url in (":memory:", "memory:", "memory://", "sqlite://:memory:", "sqlite:///:memory:"):
        return Location(None)
    parts = urlsplit(url)
    if parts.netloc:
        raise ConfigError(
            f"{url!r} names a server, but SQLite has none: write sqlite:///name.db for a file in the project's folder, "
            "or sqlite:////absolute/path.db"
        )
    query = {**{name: str(value) for name, value in options.items()}, **dict(parse_qsl(parts.query))}
    synchronous = query.pop("synchronous", "full").lower()
    if synchronous not in _SYNCHRONOUS:
        raise ConfigError(f"sqlite option synchronous is {synchronous!r}; it can be {' or '.join(_SYNCHRONOUS)}")
    if query:
        raise ConfigError(f"sqlite has no option {', '.join(sorted(query))}; it knows synchronous")
    home = environ.get("CELERIAC_HOME")
    name = unquote(parts.path).removeprefix("/")
    if not name:
        return Location((Path(home) if home else Path(folder) / HOME_FOLDER).absolute() / _DEFAULT_NAME, synchronous)
    return Location(Path(home or folder).absolute() / Path(name).expanduser(), synchronous)


def network_file_system(path: Path, mount_table: str) -> str | None:
    """The type of the network file system that `path` lies on, or None. `mount_table` is /proc/self/mountinfo's text."""
    best, best_type = "", ""
    for mount_point, file_system in _mounts(mount_table):
        inside = mount_point == "/" or path == Path(mount_point) or Path(mount_point) in path.parents
        if inside and len(mount_point) >= len(best):
            best, best_type = mount_point, file_system
    return best_type if best_type in _NETWORK_TYPES else None


def is_mount_point(path: Path, mount_table: str) -> bool:
    """Whether something is mounted at this very path: a single file, as `docker run -v store.db:/store.db` does."""
    return any(mount_point == str(path) for mount_point, _ in _mounts(mount_table))


def _mounts(mount_table: str) -> Iterator[tuple[str, str]]:
    """Mount points and types of file systems."""
    for line in mount_table.splitlines():
        fields, _, rest = line.partition(" - ")
        try:
            yield _ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), fields.split()[4]), rest.split()[0]
        except IndexError:
            continue
