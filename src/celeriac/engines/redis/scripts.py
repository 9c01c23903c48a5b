"""The scripts of the `lua` folder, each with those parts in front of it that it needs, and no others.

Whatever stands in a script is carried out at every call, if only to define a function that is not called. So a line
`-- Needs: keys, types` names the files of `lua/parts` that a script or a part builds on.

Of the arguments, ARGV[1] is the prefix of all keys and ARGV[2] the packed request. Redis unpacks no binary strings, so
messages and documents (blobs) follow as arguments of their own, and stand in the request as their numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

try:  # hashlib's own loads OpenSSL: a megabyte in each process, and 3 ms of every start
    from _sha1 import sha1  # type: ignore[import-not-found]
except ImportError:
    from hashlib import sha1

__all__ = ["FIRST_BLOB", "LUA", "evaluation", "parts_of"]

LUA = Path(__file__).parent / "lua"
FIRST_BLOB = 3

_pack = msgspec.msgpack.Encoder().encode
_NEEDS = re.compile(r"^-- Needs: (.+)$", re.MULTILINE)


def evaluation(
    name: str, keys: tuple[str, ...], key_prefix: str, request: tuple[Any, ...], blobs: Sequence[bytes | str]
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The command that runs a script which the server knows, and the one for a server that does not."""
    sha, source = _script(name)
    arguments = (len(keys), *keys, key_prefix, _pack(request), *blobs)
    return ("EVALSHA", sha, *arguments), ("EVAL", source, *arguments)


def parts_of(text: str) -> list[str]:
    """The parts that a script or a part needs, those first that others build on."""
    found: list[str] = []
    for names in _NEEDS.findall(text):
        for name in names.split(", "):
            found += [*parts_of(_part(name)), name]
    return list(dict.fromkeys(found))


@cache
def _script(name: str) -> tuple[str, str]:
    """Its SHA1, and its source."""
    text = (LUA / f"{name}.lua").read_text(encoding="utf-8")
    source = "\n".join([*map(_part, parts_of(text)), text])
    return sha1(source.encode(), usedforsecurity=False).hexdigest(), source


@cache
def _part(name: str) -> str:
    return (LUA / "parts" / f"{name}.lua").read_text(encoding="utf-8")
