"""JSON with Celery's tagged types.

A value that JSON lacks is written as `{"__type__": T, "__value__": V}` and read back only when an object has exactly
these two keys. T and V are kombu's (kombu/utils/json.py in kombu 5.7): datetime, date, time as ISO text; decimal as
text; uuid as `{"hex": ...}`; bytes as text where they are UTF-8, else base64.

The bytes are those that Celery writes (", " and ": " between items, ASCII only), so that messages and results compare
equal whoever wrote them. The standard library writes them: checking first whether msgspec may (it turns NaN into null and
has no hook for dates) costs more than it saves. msgspec reads them, five times faster.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from celeriac.exceptions import DecodeError, EncodeError
from celeriac.serialization.reasons import reason, short

__all__ = ["JSON_TYPE", "dumps", "loads", "register_type"]

JSON_TYPE = "application/json"

_decode_plain = msgspec.json.Decoder().decode


def dumps(value: Any) -> bytes:
    """The value as JSON; raises `EncodeError` naming what cannot be written."""
    try:
        try:
            text = _encode(value)
        except RecursionError:
            text = _encoder.encode(value)  # which tells a circle from mere depth
        return text.encode("ascii")
    except Exception as error:  # a value's own hook may raise anything
        raise EncodeError(reason(error)) from None


def loads(raw: bytes) -> Any:
    """The value of JSON text; raises `DecodeError`. Tagged types become what they were."""
    if b'"__type__"' not in raw:
        try:
            return _decode_plain(raw)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            pass  # NaN, Infinity and lone surrogates are not for msgspec; the standard library reads them
    try:
        return json.loads(raw, object_hook=_untagged)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"not JSON: {reason(error)}") from None


def register_type(
    kind: type[Any],
    marker: str | None,
    encoder: Callable[[Any], Any],
    decoder: Callable[[Any], Any] = lambda value: value,
) -> None:
    """Have values of a type written as what `encoder` makes of them, and read by `decoder`.

    Readers must have registered the same `marker`. With None there is no tag: readers get what the encoder made. The types
    that are known anyway, and values that have a method `__json__`, stay as they are.
    """
    _OWN_TYPES[kind] = (marker, encoder)
    if marker is not None:
        _READERS[marker] = decoder


def _tag(kind: str, value: Any) -> dict[str, Any]:
    return {"__type__": kind, "__value__": value}


def _tagged(value: Any) -> Any:
    hook = getattr(type(value), "__json__", None)
    if hook is not None:
        return hook(value)
    if isinstance(value, datetime):
        return _tag("datetime", value.isoformat())
    if isinstance(value, date):
        return _tag("date", value.isoformat())
    if isinstance(value, time):
        return _tag("time", value.isoformat())
    if isinstance(value, Decimal):
        return _tag("decimal", str(value))
    if isinstance(value, UUID):
        return _tag("uuid", {"hex": value.hex})
    if isinstance(value, bytes):
        try:
            return _tag("bytes", value.decode("utf-8"))
        except UnicodeDecodeError:
            return _tag("base64", base64.b64encode(value).decode("ascii"))
    for own, (marker, encoder) in _OWN_TYPES.items():
        if isinstance(value, own):
            return encoder(value) if marker is None else _tag(marker, encoder(value))
    if _is_djangos_lazy_text(value):
        return str(value)
    raise TypeError(f"JSON has no form for {type(value).__qualname__} ({short(value)})")


def _is_djangos_lazy_text(value: Any) -> bool:
    functional = sys.modules.get("django.utils.functional")
    return functional is not None and isinstance(value, functional.Promise)


_encoder = json.JSONEncoder(default=_tagged)


def _made_once() -> Callable[[Any], str]:
    """The encoder that the standard library makes anew for every value, at a third of the time."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:  # on other Pythons
        return _encoder.encode
    # In the order of its parameters: no markers of what has been seen, no indentation, nothing sorted or skipped.
    pieces = make(None, _tagged, json.encoder.encode_basestring_ascii, None, ": ", ", ", False, False, True)
    return lambda value: "".join(pieces(value, 0))


_encode = _made_once()

_OWN_TYPES: dict[type[Any], tuple[str | None, Callable[[Any], Any]]] = {}

_READERS: dict[str, Callable[[Any], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": lambda text: datetime.fromisoformat(text).date(),
    "time": time.fromisoformat,
    "decimal": Decimal,
    "uuid": lambda value: UUID(**value),
    "bytes": lambda text: text.encode("utf-8"),
    "base64": lambda text: base64.b64decode(text.encode("ascii"), validate=True),
}


def _untagged(value: dict[str, Any]) -> Any:
    if value.keys() != {"__type__", "__value__"}:
        return value
    kind = value["__type__"]
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise ValueError(f"unknown tagged type {kind!r}")
    try:
        return reader(value["__value__"])
    except Exception as error:  # an application's own reader may raise anything
        raise ValueError(f"bad value for tagged type {kind!r}: {reason(error)}") from None
