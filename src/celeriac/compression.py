"""Compressed bodies, by the names that Celery's settings use and the content types that it writes.

Celery's "gzip" is zlib without gzip's header (kombu 5.7, kombu/compression.py). Nothing here or in kombu bounds what a
small body may grow to: who can publish to a broker can fill a worker's memory.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from celeriac.exceptions import ConfigError, DecodeError
from celeriac.extras import Extra

__all__ = ["compress", "content_type_of", "decompress", "names"]


@dataclass(frozen=True, slots=True)
class _Method:
    """A module with `compress(data)` and `decompress(data)`, from the standard library or an extra."""

    content_type: str
    names: tuple[str, ...]
    module: str
    extra: Extra | None = None

    def load(self) -> Any:
        return self.extra.load() if self.extra is not None else importlib.import_module(self.module)


def _zstd() -> _Method:
    names = ("zstd", "zstandard")
    if sys.version_info >= (3, 14):
        return _Method("application/zstd", names, "compression.zstd")
    return _Method("application/zstd", names, "backports.zstd", Extra("backports.zstd", "backports.zstd", "zstd"))


_METHODS = (
    _Method("application/x-gzip", ("gzip", "zlib"), "zlib"),
    _Method("application/x-bz2", ("bzip2", "bz2", "bzip"), "bz2"),
    _Method("application/x-lzma", ("lzma", "xz"), "lzma"),
    _Method("application/x-brotli", ("brotli",), "brotli", Extra("Brotli", "brotli", "brotli")),
    _zstd(),
)
_KNOWN: Mapping[str, _Method] = {name: method for method in _METHODS for name in (method.content_type, *method.names)}


def names() -> tuple[str, ...]:
    """All names of compressions, those whose library is missing too."""
    return tuple(name for method in _METHODS for name in method.names)


def content_type_of(name_or_type: str) -> str:
    """The content type of a compression; raises `ConfigError` for an unknown one, or when its library is not installed."""
    method = _method(name_or_type)
    if method.extra is not None and not method.extra.installed:
        raise method.extra.missing
    return method.content_type


def compress(data: bytes, name: str) -> tuple[str, bytes]:
    """The content type and the compressed bytes; raises `ConfigError` as `content_type_of`."""
    method = _method(name)
    return method.content_type, method.load().compress(data)


def decompress(data: bytes, content_type: str) -> bytes:
    """The bytes before they were compressed, however many; raises `DecodeError`."""
    try:
        module = _method(content_type).load()
    except ConfigError as error:
        raise DecodeError(f"the body cannot be decompressed: {error}") from None
    try:
        plain: bytes = module.decompress(data)
    except Exception as error:  # each library has its own kinds of error
        raise DecodeError(f"the body is not {content_type}: {error}") from None
    return plain


def _method(name: str) -> _Method:
    method = _KNOWN.get(name)
    if method is None:
        import difflib

        near = difflib.get_close_matches(name.lower(), _KNOWN, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names())}"
        raise ConfigError(f"there is no compression {name!r}; {hint}")
    return method
