"""Python values as bytes and back: JSON with Celery's tagged types.

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
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from celeriac.exceptions import DecodeError, EncodeError

__all__ = ["CONTENT_TYPES", "JSON_TYPE", "dumps", "loads", "unencodable"]

JSON_TYPE = "application/json"
#: Serializer name -> content type, for what this version can write.
CONTENT_TYPES: Mapping[str, str] = {"json": JSON_TYPE}

_decode_plain = msgspec.json.Decoder().decode


def dumps(value: Any) -> bytes:
    """The value as JSON; raises `EncodeError` naming what cannot be written."""
    try:
        return _encode(value).encode("ascii")
    except Exception as error:  # a value's own hook may raise anything
        raise EncodeError(_reason(error)) from None


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
        raise DecodeError(f"not JSON: {_reason(error)}") from None


def unencodable(value: Any) -> str | None:
    """Why the value cannot be written, or None if it can: for messages that name an argument."""
    try:
        dumps(value)
    except EncodeError as error:
        return str(error)
    return None


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
    raise TypeError(f"JSON has no form for {type(value).__qualname__} ({_short(value)})")


_encode = json.JSONEncoder(default=_tagged).encode

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
    except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"bad value for tagged type {kind!r}: {_reason(error)}") from None


def _reason(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return str(error) if isinstance(error, (TypeError, ValueError)) else f"{type(error).__name__}: {error}"


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except Exception as error:  # a broken __repr__ must not hide what was wrong
        text = f"its repr raises {type(error).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."
