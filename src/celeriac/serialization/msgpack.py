"""MessagePack as Celery writes it: text and bytes kept apart, nothing but plain data.

Not by msgspec, which is there anyway: it writes dates, decimals and sets as text and lists instead of refusing them, so
that they would come back as something else.
"""

from __future__ import annotations

from typing import Any

from celeriac.extras import Extra

__all__ = ["MSGPACK", "dumps", "loads"]

MSGPACK = Extra("msgpack", "msgpack", "msgpack")


def dumps(value: Any) -> bytes:
    packed: bytes = MSGPACK.load().packb(value, use_bin_type=True)
    return packed


def loads(raw: bytes) -> Any:
    return MSGPACK.load().unpackb(raw, raw=False)
