"""Compressed bodies, by the names that Celery's settings use and the content types that it writes.

Celery's "gzip" is zlib without gzip's header (kombu 5.7, kombu/compression.py). What a body may grow to is bounded, so that
who can publish to a broker cannot fill a worker's memory with a message of a kilobyte.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from celeriac.exceptions import ConfigError, DecodeError, EncodeError
from celeriac.extras import Extra

__all__ = ["MOST_BYTES", "compress", "content_type_of", "decompress", "names"]

#: The largest body that is compressed or read again. Whoever needs more sends the place where it lies.
MOST_BYTES = 256 * 1024 * 1024


class _Method(msgspec.Struct, frozen=True):
    """A module with `compress(data)` and a class that decompresses by and by, from the standard library or an extra."""

    content_type: str
    names: tuple[str, ...]
    module: str
    #: The first bytes of what is compressed, as many as asked for; raises the library's errors.
    expand: Callable[[Any, bytes, int], bytes]
    extra: Extra | None = None

    def load(self) -> Any:
        return self.extra.load() if self.extra is not None else importlib.import_module(self.module)


def _inflate(zlib: Any, data: bytes, most: int) -> bytes:
    stream = zlib.decompressobj()
    plain: bytes = stream.decompress(data, most)
    if not stream.eof and len(plain) < most:
        raise EOFError("it ends too early")
    return plain


def _unbrotli(brotli: Any, data: bytes, most: int) -> bytes:
    stream = brotli.Decompressor()
    parts = [stream.process(data, output_buffer_limit=most)]
    size = len(parts[0])
    while not stream.is_finished() and size < most:
        parts.append(stream.process(b"", output_buffer_limit=most - size))
        if not parts[-1]:
            raise EOFError("it ends too early")
        size += len(parts[-1])
    return b"".join(parts)


def _expand_frames(new_stream: Callable[[Any], Any]) -> Callable[[Any, bytes, int], bytes]:
    """For the libraries whose compressed data may be several streams in a row."""

    def expand(module: Any, data: bytes, most: int) -> bytes:
        parts: list[bytes] = []
        left = most
        while True:
            stream = new_stream(module)
            while not stream.eof and left > 0:
                parts.append(stream.decompress(data, left))
                if not stream.eof and not parts[-1]:
                    raise EOFError("it ends too early")
                data = b""
                left -= len(parts[-1])
            data = stream.unused_data
            if not data or left <= 0:
                return b"".join(parts)

    return expand


_zstd_frames = _expand_frames(lambda zstd: zstd.ZstdDecompressor())


def _zstd() -> _Method:
    names = ("zstd", "zstandard")
    if sys.version_info >= (3, 14):
        return _Method("application/zstd", names, "compression.zstd", _zstd_frames)
    extra = Extra("backports.zstd", "backports.zstd", "zstd")
    return _Method("application/zstd", names, "backports.zstd", _zstd_frames, extra)


_METHODS = (
    _Method("application/x-gzip", ("gzip", "zlib"), "zlib", _inflate),
    _Method("application/x-bz2", ("bzip2", "bz2", "bzip"), "bz2", _expand_frames(lambda bz2: bz2.BZ2Decompressor())),
    _Method(
        "application/x-lzma",
        ("lzma", "xz"),
        "lzma",
        # The size of its window stands in the data too, and is taken at once.
        _expand_frames(lambda lzma: lzma.LZMADecompressor(memlimit=MOST_BYTES)),
    ),
    _Method("application/x-brotli", ("brotli",), "brotli", _unbrotli, Extra("Brotli", "brotli", "brotli")),
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
    """The content type and the compressed bytes.

    Raises `ConfigError` as `content_type_of`, and `EncodeError` for more than `MOST_BYTES`, which nobody would read.
    """
    method = _method(name)
    if len(data) > MOST_BYTES:
        raise EncodeError(
            f"{len(data):,} bytes are more than may be compressed ({MOST_BYTES:,}); store them elsewhere and pass the place"
        )
    return method.content_type, method.load().compress(data)


def decompress(data: bytes, content_type: str) -> bytes:
    """The bytes before they were compressed; raises `DecodeError`, also when they are more than `MOST_BYTES`."""
    try:
        method = _method(content_type)
        module = method.load()
    except ConfigError as error:
        raise DecodeError(f"the body cannot be decompressed: {error}") from None
    try:
        plain = method.expand(module, data, MOST_BYTES + 1)
    except Exception as error:  # each library has its own kinds of error
        raise DecodeError(f"the body is not {content_type}: {error}") from None
    if len(plain) > MOST_BYTES:
        raise DecodeError(f"the body's {len(data):,} bytes of {content_type} would grow to more than {MOST_BYTES:,}")
    return plain


def _method(name: str) -> _Method:
    method = _KNOWN.get(name)
    if method is None:
        import difflib

        near = difflib.get_close_matches(name.lower(), _KNOWN, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names())}"
        raise ConfigError(f"there is no compression {name!r}; {hint}")
    return method
