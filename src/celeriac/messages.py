"""A task on its way: Celery's message, protocol 2, as a value.

`Message` is what producers make and workers read; `encode` and `decode` turn it into the bytes that lie in a store, which
are the envelope that Celery's Redis transport reads: a JSON object with the body as text, or in base64 where it is none.
`Outgoing` adds where it goes and when; `Malformed` stands for bytes that are no message. Formats: Celery 5.7,
celery/app/amqp.py (headers, body) and kombu 5.7, kombu/transport/virtual (envelope); what Celery's workers fill in
themselves is left out.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from celeriac import serialization
from celeriac.compression import compress, decompress
from celeriac.exceptions import DecodeError, EncodeError

__all__ = [
    "EMBED",
    "Body",
    "EncodedBody",
    "Malformed",
    "Message",
    "Outgoing",
    "decode",
    "decode_body",
    "encode",
    "encode_body",
]

LOWEST_PRIORITY = 9


class Message(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One task, ready to be sent or just read. `headers` holds all headers, known or not, as they are on the wire."""

    id: str
    task: str
    body: bytes
    headers: Mapping[str, Any] = msgspec.field(default_factory=dict)
    content_type: str = serialization.JSON_TYPE
    content_encoding: str = "utf-8"
    priority: int = 0
    retries: int = 0
    eta: datetime | None = None
    expires: datetime | None = None
    properties: Mapping[str, Any] = msgspec.field(default_factory=dict)

    @classmethod
    def from_headers(cls, headers: Mapping[str, Any], body: bytes, **rest: Any) -> Message:
        """A message with its fields taken from `headers`; raises `DecodeError` naming the header that is wrong."""
        return cls(
            id=_header(headers, "id", str),
            task=_header(headers, "task", str),
            retries=_natural(headers, "retries") if "retries" in headers else 0,
            eta=_moment(headers, "eta") if "eta" in headers else None,
            expires=_moment(headers, "expires") if "expires" in headers else None,
            headers=headers,
            body=body,
            **rest,
        )

    def with_headers(self, **changes: Any) -> Message:
        """A copy with some headers replaced; None removes one."""
        headers = {**self.headers, **changes}
        return self.from_headers(
            {name: value for name, value in headers.items() if value is not None or name not in changes},
            self.body,
            content_type=self.content_type,
            content_encoding=self.content_encoding,
            priority=self.priority,
            properties=self.properties,
        )

    def with_priority(self, priority: int) -> Message:
        """A copy of another priority."""
        return replace(self, priority=priority)

    def with_body(self, body: EncodedBody) -> Message:
        """A copy with another body, whatever the old one was written and compressed by."""
        return replace(
            self.with_headers(compression=body.compression),
            body=body.data,
            content_type=body.content_type,
            content_encoding=body.content_encoding,
        )


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """A message, the queue it goes to, and when it may be claimed (seconds since 1970; None: at once)."""

    message: Message
    queue: str
    due: float | None = None


class Malformed(msgspec.Struct, frozen=True, gc=False):
    """Bytes out of a queue that are no message, and why; `id` and `task` where they can be read all the same."""

    raw: bytes
    reason: str
    id: str | None = None
    task: str | None = None


class Body(msgspec.Struct, frozen=True, gc=False):
    """What a task is called with, and what follows it (`callbacks`, `errbacks`, `chain`, `chord`)."""

    args: list[Any]
    kwargs: dict[str, Any]
    embed: Mapping[str, Any] = msgspec.field(default_factory=dict)


#: Of what follows a task.
EMBED = ("callbacks", "errbacks", "chain", "chord")


class EncodedBody(msgspec.Struct, frozen=True, gc=False):
    """A body as bytes, and what the message must say of it. `compression` is for the header of this name."""

    content_type: str
    content_encoding: str
    compression: str | None
    data: bytes


def encode_body(body: Body, serializer: str = "json", compression: str | None = None) -> EncodedBody:
    """The body as bytes; raises `EncodeError`, and `ConfigError` for a serializer or compression that is not there."""
    # Tuples, as Celery sends them: pickle tells them from lists.
    encoded = serialization.encode((tuple(body.args), body.kwargs, dict(body.embed)), serializer)
    if compression is None:
        return EncodedBody(encoded.content_type, encoded.content_encoding, None, encoded.data)
    compressed_by, data = compress(encoded.data, compression)
    return EncodedBody(encoded.content_type, encoded.content_encoding, compressed_by, data)


def decode_body(message: Message, accept: frozenset[str]) -> Body:
    """The arguments of a message whose content type is among `accept`; raises `DecodeError`.

    Nothing is decompressed or read before the content type is found to be accepted.
    """
    if message.content_type not in accept:
        raise DecodeError(
            f"content type {message.content_type!r} is not accepted; accept_content allows {', '.join(sorted(accept))}"
        )
    body = message.body if "compression" not in message.headers else _decompressed(message.headers, message.body)
    parts = serialization.decode(body, message.content_type, message.content_encoding)
    if not isinstance(parts, (list, tuple)) or len(parts) != 3:
        raise DecodeError("the body is not [args, kwargs, embed]")
    args, kwargs, embed = parts
    if not isinstance(args, (list, tuple)) or not isinstance(kwargs, dict) or not isinstance(embed, dict):
        raise DecodeError("the body's args, kwargs and embed are not a list and two objects")
    for name in kwargs:
        if not isinstance(name, str):
            raise DecodeError(f"the body's kwargs have the key {name!r:.100}, which is no name")
    return Body(args if type(args) is list else list(args), kwargs, embed)


def _decompressed(headers: Mapping[str, Any], body: bytes) -> bytes:
    compression = _header(headers, "compression", str, None)
    return body if compression is None else decompress(body, compression)


_encode_envelope = msgspec.json.Encoder().encode
_read_anything: Callable[[bytes], Any] = msgspec.json.Decoder().decode


class _Properties(msgspec.Struct):
    """Those that mean something to a worker. What else a transport has written is passed over."""

    body_encoding: str | None = None
    priority: int | None = None
    reply_to: Any = None
    timestamp: Any = None

    def kept(self) -> dict[str, Any]:
        """What stays with the message when it is sent again."""
        kept = {}
        if self.reply_to is not None:
            kept["reply_to"] = self.reply_to
        if self.timestamp is not None:
            kept["timestamp"] = self.timestamp
        return kept


class _Envelope(msgspec.Struct, rename="kebab"):
    headers: dict[str, Any]
    properties: _Properties
    body: str
    content_type: str | None = None
    content_encoding: str | None = None


_read_envelope: Callable[[bytes], _Envelope] = msgspec.json.Decoder(_Envelope).decode

T = TypeVar("T")


def _read(raw: bytes, read: Callable[[bytes], T]) -> T:
    try:
        return read(raw)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if b"\\u" not in raw:
            raise
    # Half a character, which Celery's JSON can escape (in `argsrepr`) and UTF-8 cannot hold: it is read as "?". The body
    # keeps it: it is base64, or its own escapes are escaped once more.
    try:
        return read(json.dumps(json.loads(raw), ensure_ascii=False).encode("utf-8", "replace"))
    except ValueError as error:
        raise msgspec.DecodeError(str(error)) from None


def encode(outgoing: Outgoing, stamps: Mapping[str, Any] | None = None) -> bytes:
    """The message as the bytes that lie in a store's queue. `stamps` are properties of this publish.

    Raises `EncodeError` for a header or property that JSON does not have.
    """
    message = outgoing.message
    properties: dict[str, Any] = {
        "correlation_id": message.id,
        "delivery_info": {"exchange": "", "routing_key": outgoing.queue},
    }
    if message.properties:
        properties = {**message.properties, **properties}
    if stamps:
        properties |= stamps
    if message.priority:
        properties["priority"] = message.priority
    body = _text(message)
    if body is None:
        body = base64.b64encode(message.body).decode("ascii")
        properties["body_encoding"] = "base64"
    envelope = {
        "body": body,
        "content-encoding": message.content_encoding,
        "content-type": message.content_type,
        "headers": message.headers,
        "properties": properties,
    }
    try:
        return _encode_envelope(envelope)
    except Exception as error:  # also a value's own hook may raise
        raise EncodeError(f"{message.task}: the message cannot be written: {error}") from None


def _text(message: Message) -> str | None:
    """The body as text, where its reader takes the same bytes of it."""
    if message.content_encoding != "utf-8" or "compression" in message.headers:
        return None
    try:
        return message.body.decode()
    except UnicodeDecodeError:
        return None


def decode(raw: bytes) -> Message | Malformed:
    """The message in these bytes. Never raises: what cannot be read comes back as `Malformed` with the reason."""
    try:
        envelope = _read(raw, _read_envelope)
        headers, properties = envelope.headers, envelope.properties
        body = _body_bytes(envelope.body, properties.body_encoding)
        content_type = serialization.JSON_TYPE if envelope.content_type is None else envelope.content_type
        content_encoding = "utf-8" if envelope.content_encoding is None else envelope.content_encoding
        if "task" not in headers:
            headers, body = _from_protocol_1(headers, body, content_type, content_encoding)
        return Message.from_headers(
            headers,
            body,
            content_type=content_type,
            content_encoding=content_encoding,
            priority=min(max(properties.priority, 0), LOWEST_PRIORITY) if properties.priority else 0,
            properties=properties.kept(),
        )
    except Exception as error:  # also RecursionError, of a repr: whatever these bytes are, who reads them goes on
        return Malformed(raw, _reason(error), *_ids(raw))


def _reason(error: Exception) -> str:
    match error:
        case DecodeError():
            return str(error)
        case msgspec.ValidationError():
            return f"not a message: {error}"
        case RecursionError():
            return "nested too deeply"
        case msgspec.DecodeError() | UnicodeDecodeError():
            return f"not JSON: {error}"
    return f"cannot be read: {type(error).__name__}"


def _ids(raw: bytes) -> tuple[str | None, str | None]:
    """Id and name of the task, where they can be read though something else cannot."""
    try:
        envelope = _read(raw, _read_anything)
    except Exception:
        return None, None
    return (
        _text_in(envelope, "headers", "id") or _text_in(envelope, "properties", "correlation_id"),
        _text_in(envelope, "headers", "task"),
    )


def _from_protocol_1(
    envelopes: dict[str, Any], body: bytes, content_type: str, content_encoding: str
) -> tuple[dict[str, Any], bytes]:
    """Headers and body of a message of Celery's first protocol, which has everything but its compression in its body."""
    if not serialization.is_plain(content_type):
        # What task it is stands in the body, and whether the application accepts such bodies is not known here.
        raise DecodeError(
            f"the message has no header 'task', and a body of type {content_type!r} is not read to look for one; "
            "its sender should use task_protocol 2"
        )
    content = serialization.decode(_decompressed(envelopes, body), content_type, content_encoding)
    if not isinstance(content, dict) or "task" not in content:
        raise DecodeError("the message has no header 'task', and its body is not one of protocol 1 either")
    names = ("task", "id", "retries", "eta", "expires", "group", "group_index", "timelimit")
    headers = {name: content[name] for name in names if content.get(name) is not None}
    args, kwargs = content.get("args") or [], content.get("kwargs") or {}
    embed = {name: content.get(name) for name in EMBED}
    try:
        # Written again by the same serializer: whether it is accepted is decided when the arguments are read.
        rewritten = serialization.encode([args, kwargs, embed], serialization.name_of(content_type))
    except EncodeError as error:
        raise DecodeError(f"the arguments of a message of protocol 1 cannot be kept: {error}") from None
    return {"lang": "py", **headers}, rewritten.data


def _text_in(envelope: Any, part: str, name: str) -> str | None:
    """What can be read of a message that is wrong elsewhere."""
    found = envelope.get(part) if isinstance(envelope, dict) else None
    text = found.get(name) if isinstance(found, dict) else None
    return text if isinstance(text, str) else None


def _body_bytes(body: str, encoding: str | None) -> bytes:
    if encoding is None:
        return body.encode("utf-8", "surrogatepass")
    if encoding != "base64":
        raise DecodeError(f"unknown body encoding {encoding!r}")
    try:
        return binascii.a2b_base64(body, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise DecodeError(f"the body is not base64: {error}") from None


_REQUIRED: Any = object()


def _header(headers: Mapping[str, Any], name: str, kind: type, default: Any = _REQUIRED) -> Any:
    value = headers.get(name)
    if value is None and default is not _REQUIRED:
        return default
    if type(value) is not kind and (not isinstance(value, kind) or isinstance(value, bool)):
        raise DecodeError(f"header {name!r} is {value!r:.100}, not {kind.__name__}")
    return value


def _natural(headers: Mapping[str, Any], name: str) -> int:
    number: int = _header(headers, name, int, 0)
    if number < 0:  # it would be retried so many times more than it may
        raise DecodeError(f"header {name!r} is {number}, below 0")
    return number


def _moment(headers: Mapping[str, Any], name: str) -> datetime | None:
    text = _header(headers, name, str, None)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise DecodeError(f"header {name!r} is {text!r:.100}, not an ISO 8601 time") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
