"""Compressed bodies, by the content types that Celery writes into the header `compression`.

Celery's "gzip" is zlib without gzip's header (kombu 5.7, kombu/compression.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from celeriac.exceptions import DecodeError

__all__ = ["decompress"]


def _zlib(data: bytes) -> bytes:
    import zlib

    return zlib.decompress(data)


def _bz2(data: bytes) -> bytes:
    import bz2

    return bz2.decompress(data)


def _lzma(data: bytes) -> bytes:
    import lzma

    return lzma.decompress(data)


_DECOMPRESSORS: Mapping[str, Callable[[bytes], bytes]] = {
    "application/x-gzip": _zlib,
    "application/x-bz2": _bz2,
    "application/x-lzma": _lzma,
}


def decompress(data: bytes, content_type: str) -> bytes:
    """The bytes before they were compressed; raises `DecodeError`."""
    decompressor = _DECOMPRESSORS.get(content_type)
    if decompressor is None:
        raise DecodeError(f"compression {content_type!r} is not known here; known are {', '.join(_DECOMPRESSORS)}")
    try:
        return decompressor(data)
    except Exception as error:  # each library has its own kinds of error
        raise DecodeError(f"the body is not {content_type}: {error}") from None
