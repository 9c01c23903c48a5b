"""Ids for tasks and for publishes: random, made many at a time.

`uuid.uuid4()` asks the kernel for each id and makes an object of it, which is a fifth of what a call costs.
"""

from __future__ import annotations

import base64
import os

__all__ = ["new_id", "new_tag"]

_AT_ONCE = 128
_ID_BYTES = 16
_TAG_BYTES = 12
#: A drawn byte -> the byte that has RFC 9562's version (4), or its variant, in its upper bits.
_VERSION = bytes(0x40 | byte & 0x0F for byte in range(256))
_VARIANT = bytes(0x80 | byte & 0x3F for byte in range(256))


def new_id() -> str:
    """A random UUID (version 4) as text."""
    while True:
        try:
            return _ids.pop()  # one step, so no two threads get the same
        except IndexError:
            _ids.extend(_more_ids())


def new_tag() -> str:
    """A short random text that no other publish has: 96 bits in base64."""
    while True:
        try:
            return _tags.pop()
        except IndexError:
            _tags.extend(_more_tags())


def _more_ids() -> list[str]:
    drawn = bytearray(os.urandom(_ID_BYTES * _AT_ONCE))
    drawn[6::16] = drawn[6::16].translate(_VERSION)
    drawn[8::16] = drawn[8::16].translate(_VARIANT)
    text = drawn.hex()
    return [
        f"{text[i : i + 8]}-{text[i + 8 : i + 12]}-{text[i + 12 : i + 16]}-{text[i + 16 : i + 20]}-{text[i + 20 : i + 32]}"
        for i in range(0, len(text), 32)
    ]


def _more_tags() -> list[str]:
    drawn = base64.b64encode(os.urandom(_TAG_BYTES * _AT_ONCE)).decode("ascii")
    return [drawn[start : start + 16] for start in range(0, len(drawn), 16)]


_ids: list[str] = []
_tags: list[str] = []


def _after_fork() -> None:
    # The parent gives out what it has ready.
    _ids.clear()
    _tags.clear()


os.register_at_fork(after_in_child=_after_fork)
