"""Serializers by name, and what they wrote by its content type. Names, types and encodings are kombu's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from celeriac.exceptions import ConfigError, DecodeError, EncodeError
from celeriac.extras import Extra
from celeriac.serialization import json, msgpack, yaml
from celeriac.serialization.reasons import reason

__all__ = [
    "CONTENT_TYPES",
    "PICKLE_TYPE",
    "Encoded",
    "content_type_of",
    "decode",
    "encode",
    "is_plain",
    "name_of",
    "names",
    "register",
    "unencodable",
    "unregister",
]

PICKLE_TYPE = "application/x-python-serialize"
_BINARY = frozenset({"binary", "ascii-8bit"})
#: Python knows these as text encodings too. They are no character sets, and reading a megabyte by some takes for ever.
_NO_CHARSETS = frozenset({"idna", "punycode", "raw_unicode_escape", "undefined", "unicode_escape"})


class Encoded(msgspec.Struct, frozen=True):
    """A written value, and what a reader must know of it."""

    content_type: str
    content_encoding: str
    data: bytes


class _Serializer(msgspec.Struct, frozen=True):
    name: str
    encoder: Callable[[Any], Any] | None
    decoder: Callable[[bytes], Any] | None
    content_type: str
    content_encoding: str = "utf-8"
    extra: Extra | None = None
    #: Reading it yields data only and runs nobody's code.
    plain: bool = False

    @property
    def charset(self) -> str | None:
        """The character set of a text format."""
        return None if self.content_encoding in _BINARY else self.content_encoding


_by_name: dict[str, _Serializer] = {}
_by_type: dict[str, _Serializer] = {}
_types: dict[str, str] = {}

#: Serializer name -> content type, of all that are registered.
CONTENT_TYPES: Mapping[str, str] = MappingProxyType(_types)


def register(
    name: str,
    encoder: Callable[[Any], str | bytes] | None,
    decoder: Callable[[bytes], Any] | None,
    content_type: str,
    content_encoding: str = "utf-8",
) -> None:
    """Add a serializer, or replace the one of this name.

    The decoder gets bytes. Without an encoder it only reads, without a decoder it only writes. What it wrote is read only
    by applications that name it in `accept_content`.
    """
    _add(_Serializer(name, encoder, decoder, content_type, content_encoding.lower()))


def unregister(name: str) -> None:
    """Remove a serializer; raises `ConfigError` when there is none of this name."""
    gone = _named(name)
    del _by_name[name], _types[name]
    if _by_type.get(gone.content_type) is gone:
        del _by_type[gone.content_type]


def names() -> tuple[str, ...]:
    """The names of all serializers, those whose library is missing too."""
    return tuple(_by_name)


def content_type_of(name_or_type: str) -> str:
    """The content type of a serializer; raises `ConfigError` for an unknown name, or when its library is not installed.

    An unknown content type is returned as it is: its serializer may be registered later.
    """
    serializer = _by_type.get(name_or_type)
    if serializer is None:
        if "/" in name_or_type:
            return name_or_type
        serializer = _named(name_or_type)
    if serializer.extra is not None and not serializer.extra.installed:
        raise serializer.extra.missing
    return serializer.content_type


def name_of(content_type: str) -> str:
    """The name of the serializer that reads and writes this content type; raises `ConfigError` when there is none."""
    serializer = _by_type.get(content_type)
    if serializer is None:
        raise ConfigError(f"there is no serializer for {content_type!r}; celeriac.serialization.register() adds one")
    return serializer.name


def is_plain(content_type: str) -> bool:
    """Whether content of this type can be read by anybody: it yields data and runs no code of its sender or of a plug-in."""
    serializer = _by_type.get(content_type)
    return serializer is not None and serializer.plain


def encode(value: Any, serializer: str) -> Encoded:
    """The value as bytes, by the serializer's name; raises `EncodeError` naming what cannot be written."""
    chosen = _by_name.get(serializer) or _named(serializer)
    if chosen.encoder is None:
        raise ConfigError(f"serializer {serializer!r} can only read")
    try:
        data = chosen.encoder(value)
        if isinstance(data, str):
            data = data.encode(chosen.charset or "utf-8")
    except (EncodeError, ConfigError):
        raise
    except Exception as error:  # each library has its own kinds of error
        raise EncodeError(f"{serializer} cannot write it: {reason(error)}") from None
    return Encoded(chosen.content_type, chosen.content_encoding, data)


def decode(data: bytes, content_type: str, content_encoding: str = "utf-8") -> Any:
    """The value in these bytes; raises `DecodeError`.

    Whether the content type is accepted is for the caller to check before: reading a pickle runs what is in it.
    """
    serializer = _by_type.get(content_type)
    if serializer is None or serializer.decoder is None:
        raise DecodeError(f"no serializer here reads {content_type!r}; celeriac.serialization.register() adds one")
    try:
        if content_encoding != serializer.content_encoding:
            data = _transcoded(data, content_encoding.lower(), serializer.charset)
        return serializer.decoder(data)
    except DecodeError:
        raise
    except ConfigError as error:
        raise DecodeError(f"{content_type} cannot be read here: {error}") from None
    except Exception as error:  # each library has its own kinds of error
        raise DecodeError(f"not {serializer.name}: {reason(error)}") from None


def unencodable(value: Any, serializer: str = "json") -> str | None:
    """Why the value cannot be written, or None if it can: for messages that name an argument."""
    try:
        encode(value, serializer)
    except EncodeError as error:
        return str(error)
    return None


def _transcoded(data: bytes, declared: str, charset: str | None) -> bytes:
    """Text in another character set than the serializer's, in the serializer's."""
    if charset is None or declared == charset or declared in _BINARY:
        return data
    if declared.replace("-", "_") in _NO_CHARSETS:
        raise DecodeError(f"{declared!r} is no character set")
    return data.decode(declared).encode(charset)


def _named(name: str) -> _Serializer:
    serializer = _by_name.get(name)
    if serializer is None:
        import difflib

        near = difflib.get_close_matches(name.lower(), _by_name, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(_by_name)}"
        raise ConfigError(f"there is no serializer {name!r}; {hint}")
    return serializer


def _add(serializer: _Serializer) -> None:
    old = _by_name.get(serializer.name)
    if old is not None and _by_type.get(old.content_type) is old:
        del _by_type[old.content_type]
    _by_name[serializer.name] = _by_type[serializer.content_type] = serializer
    _types[serializer.name] = serializer.content_type


def _pickled(value: Any) -> bytes:
    from celeriac.serialization import pickle  # few need it, and it is a millisecond of every start

    return pickle.dumps(value)


def _unpickled(raw: bytes) -> Any:
    from celeriac.serialization import pickle

    return pickle.loads(raw)


for _built_in in (
    _Serializer("json", json.dumps, json.loads, json.JSON_TYPE, plain=True),
    _Serializer("pickle", _pickled, _unpickled, PICKLE_TYPE, "binary"),
    _Serializer("yaml", yaml.dumps, yaml.loads, "application/x-yaml", extra=yaml.YAML, plain=True),
    _Serializer(
        "msgpack", msgpack.dumps, msgpack.loads, "application/x-msgpack", "binary", extra=msgpack.MSGPACK, plain=True
    ),
):
    _add(_built_in)
