"""A task on its way: Celery's message, protocol 2, as a value.

`Message` is what producers make and workers read; `encode` and `decode` turn it into the bytes that lie in a store, which
are the envelope Celery's Redis transport writes (a JSON object with the body in base64). `Outgoing` adds where it goes
and when; `Malformed` stands for bytes that are no message. Formats: Celery 5.7, celery/app/amqp.py (headers, body) and
kombu 5.7, kombu/transport/virtual (envelope); headers that Celery does without when null are left out.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import msgspec

from celeriac import serialization
from celeriac.compression import compress, decompress
from celeriac.exceptions import DecodeError, EncodeError

__all__ = ["Body", "EncodedBody", "Malformed", "Message", "Outgoing", "decode", "decode_body", "encode", "encode_body"]

LOWEST_PRIORITY = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One task, ready to be sent or just read. `headers` holds all headers, known or not, as they are on the wire."""

    id: str
    task: str
    body: bytes
    headers: Mapping[str, Any] = field(default_factory=dict)
    content_type: str = serialization.JSON_TYPE
    content_encoding: str = "utf-8"
    priority: int = 0
    retries: int = 0
    eta: datetime | None = None
    expires: datetime | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_headers(cls, headers: Mapping[str, Any], body: bytes, **rest: Any) -> Message:
        """A message with its fields taken from `headers`; raises `DecodeError` naming the header that is wrong."""
        return cls(
            id=_header(headers, "id", str),
            task=_header(headers, "task", str),
            retries=_natural(headers, "retries"),
            eta=_moment(headers, "eta"),
            expires=_moment(headers, "expires"),
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


class Outgoing(msgspec.Struct, frozen=True):
    """A message, the queue it goes to, and when it may be claimed (seconds since 1970; None: at once)."""

    message: Message
    queue: str
    due: float | None = None


class Malformed(msgspec.Struct, frozen=True):
    """Bytes out of a queue that are no message, and why; `id` and `task` where they can be read all the same."""

    raw: bytes
    reason: str
    id: str | None = None
    task: str | None = None


class Body(msgspec.Struct, frozen=True):
    """What a task is called with, and what follows it (`callbacks`, `errbacks`, `chain`, `chord`)."""

    args: list[Any]
    kwargs: dict[str, Any]
    embed: Mapping[str, Any] = msgspec.field(default_factory=dict)


_EMBED = ("callbacks", "errbacks", "chain", "chord")


class EncodedBody(msgspec.Struct, frozen=True):
    """A body as bytes, and what the message must say of it. `compression` is for the header of this name."""

    content_type: str
    content_encoding: str
    compression: str | None
    data: bytes


def encode_body(body: Body, serializer: str = "json", compression: str | None = None) -> EncodedBody:
    """The body as bytes; raises `EncodeError`, and `ConfigError` for a serializer or compression that is not there."""
    embed = {name: body.embed.get(name) for name in _EMBED}
    # Tuples, as Celery sends them: pickle tells them from lists.
    encoded = serialization.encode((tuple(body.args), body.kwargs, embed), serializer)
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
    return Body(list(args), kwargs, embed)


def _decompressed(headers: Mapping[str, Any], body: bytes) -> bytes:
    compression = _header(headers, "compression", str, None)
    return body if compression is None else decompress(body, compression)


_encode_envelope = msgspec.json.Encoder().encode
_decode_plain: Callable[[bytes], Any] = msgspec.json.Decoder().decode


def _decode_envelope(raw: bytes) -> Any:
    try:
        return _decode_plain(raw)
    except msgspec.DecodeError:
        if b"\\u" not in raw:
            raise
    # Half a character, which Celery's JSON can escape (in `argsrepr`) and UTF-8 cannot hold: it is read as "?", and the
    # body, which is base64, keeps it.
    try:
        return _decode_plain(json.dumps(json.loads(raw), ensure_ascii=False).encode("utf-8", "replace"))
    except ValueError as error:
        raise msgspec.DecodeError(str(error)) from None


def encode(outgoing: Outgoing, stamps: Mapping[str, Any] | None = None) -> bytes:
    """The message as the bytes that lie in a store's queue. `stamps` are properties of this publish."""
    message = outgoing.message
    return _encode_envelope(
        {
            "body": base64.b64encode(message.body).decode("ascii"),
            "content-encoding": message.content_encoding,
            "content-type": message.content_type,
            "headers": message.headers,
            "properties": {
                **message.properties,
                **(stamps or {}),
                "correlation_id": message.id,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": outgoing.queue},
                "priority": message.priority,
                "body_encoding": "base64",
            },
        }
    )


def decode(raw: bytes) -> Message | Malformed:
    """The message in these bytes. Never raises: what cannot be read comes back as `Malformed` with the reason."""
    try:
        envelope = _decode_envelope(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        return Malformed(raw, "nested too deeply" if isinstance(error, RecursionError) else f"not JSON: {error}")
    try:
        headers = _part(envelope, "headers")
        properties = _part(envelope, "properties")
        body = _body_bytes(envelope, properties)
        content_type = _header(envelope, "content-type", str, serialization.JSON_TYPE)
        content_encoding = _header(envelope, "content-encoding", str, "utf-8")
        if "task" not in headers:
            headers, body = _from_protocol_1(headers, body, content_type, content_encoding)
        return Message.from_headers(
            headers,
            body,
            content_type=content_type,
            content_encoding=content_encoding,
            priority=min(max(_header(properties, "priority", int, 0), 0), LOWEST_PRIORITY),
            properties={name: value for name, value in properties.items() if name in ("reply_to", "timestamp")},
        )
    except Exception as error:  # also RecursionError, of a repr: whatever these bytes are, who reads them goes on
        reason = str(error) if isinstance(error, DecodeError) else f"cannot be read: {type(error).__name__}"
        return Malformed(
            raw,
            reason,
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
    embed = {name: content.get(name) for name in _EMBED}
    try:
        # Written again by the same serializer: whether it is accepted is decided when the arguments are read.
        rewritten = serialization.encode([args, kwargs, embed], serialization.name_of(content_type))
    except EncodeError as error:
        raise DecodeError(f"the arguments of a message of protocol 1 cannot be kept: {error}") from None
    return {"lang": "py", **headers}, rewritten.data


def _part(envelope: Any, name: str) -> dict[str, Any]:
    part = envelope.get(name) if isinstance(envelope, dict) else None
    if not isinstance(part, dict):
        raise DecodeError(f"the message has no {name}")
    return part


def _text_in(envelope: Any, part: str, name: str) -> str | None:
    """What can be read of a message that is wrong elsewhere."""
    found = envelope.get(part) if isinstance(envelope, dict) else None
    text = found.get(name) if isinstance(found, dict) else None
    return text if isinstance(text, str) else None


def _body_bytes(envelope: dict[str, Any], properties: dict[str, Any]) -> bytes:
    body = envelope.get("body")
    if not isinstance(body, str):
        raise DecodeError("the message has no body")
    encoding = properties.get("body_encoding")
    if encoding is None:
        return body.encode("utf-8", "surrogatepass")
    if encoding != "base64":
        raise DecodeError(f"unknown body encoding {encoding!r}")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DecodeError(f"the body is not base64: {error}") from None


_REQUIRED: Any = object()


def _header(headers: Mapping[str, Any], name: str, kind: type, default: Any = _REQUIRED) -> Any:
    value = headers.get(name)
    if value is None and default is not _REQUIRED:
        return default
    if not isinstance(value, kind) or isinstance(value, bool):
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
