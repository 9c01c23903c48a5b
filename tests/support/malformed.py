"""Messages that are none: kinds of them for the worker to bury, and a seeded mutator of good ones."""

from __future__ import annotations

import base64
import json
import os
import pickle
import random
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cache
from typing import Any

from celeriac.compression import compress
from celeriac.engines.redis import RedisBroker
from celeriac.engines.sqlite import SQLiteBroker

__all__ = ["KINDS", "WITHOUT_ID", "Mutator", "bomb", "envelope", "put_raw"]

Kind = Callable[[str], bytes]

_GOOD_BODY = b'[["x"], {}, {}]'


def put_raw(broker: Any, queue: str, raws: Sequence[bytes]) -> None:
    """Put bytes at the end of a queue that no publish would put there."""
    if isinstance(broker, RedisBroker):
        for raw in raws:
            broker.client.call("LPUSH", queue, raw)
        return
    assert isinstance(broker, SQLiteBroker)
    with broker.database.write() as connection:
        for raw in raws:
            number = connection.execute("INSERT INTO messages (raw) VALUES (?)", (raw,)).lastrowid
            connection.execute("INSERT INTO ready VALUES (?, 0, ?, 0, 0, 1.0)", (queue, number))


def envelope(task_id: str, body: bytes = _GOOD_BODY, properties: Any = None, **changes: Any) -> bytes:
    """A message that a worker runs (`tasks.echo("x")`), but for the changes."""
    headers = {"lang": "py", "task": "tasks.echo", "id": task_id, "retries": 0, **changes.pop("headers", {})}
    content = {
        "body": base64.b64encode(body).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": headers,
        "properties": {"body_encoding": "base64", "priority": 0, "delivery_tag": "t", "correlation_id": task_id}
        if properties is None
        else properties,
        **changes,
    }
    return json.dumps(content).encode()


@cache
def bomb(compression: str) -> bytes:
    """Some kilobytes that grow to 2 GB."""
    return compress(bytes(64 << 20), compression)[1] * 32


class _Touch:
    """Whoever unpickles this makes a folder."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self._path,)


def _pickled(task_id: str) -> bytes:
    return pickle.dumps([[_Touch(f"unpickled-{task_id}")], {}, {}])


_PICKLE = {"content-type": "application/x-python-serialize", "content-encoding": "binary"}
_PROTOCOL_1 = {"task": "tasks.echo", "args": ["x"], "kwargs": {}}


def _without_headers(task_id: str, body: bytes, **changes: Any) -> bytes:
    """As a producer of the first protocol writes it, whose body holds everything."""
    return envelope(task_id, body, **changes).replace(b'"headers": {', b'"headers": {}, "was": {')


#: Each makes one for a task id. `surprise` is a module that must not be imported.
KINDS: dict[str, Kind] = {
    "no JSON": lambda i: b"\x00\xff garbage " + i.encode(),
    "empty": lambda i: b"",
    "a number": lambda i: str(sum(i.encode())).encode(),
    "no headers": lambda i: json.dumps({"body": "", "properties": {}, "tag": i}).encode(),
    "half of it": lambda i: envelope(i)[:-20],
    "100,000 brackets": lambda i: i.encode() + b"[" * 100_000,
    "5 MB": lambda i: b'{"body": "' + i.encode() + b"x" * 5_000_000,
    "headers are a list": lambda i: envelope(i).replace(b'"headers": {', b'"headers": [], "was": {'),
    "id is a number": lambda i: envelope(i, headers={"id": 5}),
    "task is null": lambda i: envelope(i, headers={"task": None}),
    "task of the system": lambda i: envelope(i, headers={"task": "os.system"}),
    "task of a module that is not imported": lambda i: envelope(i, headers={"task": "surprise.run"}),
    "retries are text": lambda i: envelope(i, headers={"retries": "often"}),
    "retries below 0": lambda i: envelope(i, headers={"retries": -(2**62)}),
    "eta is no time": lambda i: envelope(i, headers={"eta": "tomorrow"}),
    "expires is a list": lambda i: envelope(i, headers={"expires": []}),
    "time limits are text": lambda i: envelope(i, headers={"timelimit": ["long", "longer"]}),
    "priority is text": lambda i: envelope(
        i, properties={"body_encoding": "base64", "priority": "high", "correlation_id": i}
    ),
    "a second, bad header": lambda i: envelope(i).replace(b'"retries": 0', b'"retries": 0, "retries": []'),
    "body is not base64": lambda i: envelope(i).replace(b'"body": "', b'"body": "!!'),
    "body is no list": lambda i: envelope(i, b'{"a": 1}'),
    "body is half": lambda i: envelope(i, b'[["x"], {'),
    "a body of 100,000 brackets": lambda i: envelope(i, b"[" * 100_000 + b"]" * 100_000),
    "callbacks are a number": lambda i: envelope(i, b'[["x"], {}, {"callbacks": 5}]'),
    "an errback is text": lambda i: envelope(i, b'[["x"], {}, {"errbacks": ["tasks.echo"]}]'),
    "unknown compression": lambda i: envelope(i, headers={"compression": "application/x-rot13"}),
    "grows to 2 GB": lambda i: envelope(i, bomb("zstd"), headers={"compression": "zstd"}),
    "unknown tagged type": lambda i: envelope(i, b'[[{"__type__": "surprise.run", "__value__": "true"}], {}, {}]'),
    "content not accepted": lambda i: envelope(i, **{"content-type": "application/x-yaml"}),
    "no such content": lambda i: envelope(i, **{"content-type": "surprise"}),
    "no such character set": lambda i: envelope(i, **{"content-encoding": "surprise"}),
    "pickle": lambda i: envelope(i, _pickled(i), **_PICKLE),
    "pickle that is called JSON": lambda i: envelope(i, _pickled(i)),
    "pickle of the first protocol": lambda i: _without_headers(
        i, pickle.dumps({**_PROTOCOL_1, "args": [_Touch(f"unpickled-{i}")], "id": i}), **_PICKLE
    ),
    "the first protocol with half a body": lambda i: _without_headers(i, b'{"task": "tasks.echo", '),
}
#: Those from which nobody can say whose result they would have been.
WITHOUT_ID = frozenset({"no JSON", "empty", "a number", "no headers", "half of it", "100,000 brackets", "5 MB"})


class Mutator:
    """Makes messages out of good ones by changing bytes, values and structure; the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._made = 0

    def next(self) -> bytes:
        """One more."""
        self._made += 1
        content = self._good(f"fuzz-{self._made}")
        if self._dice.random() < 0.75:
            for _ in range(self._dice.choice([1, 1, 1, 2, 5])):
                self._change_value(content)
        raw = self._written(content)
        if self._dice.random() < 0.4:
            for _ in range(self._dice.choice([1, 1, 3, 20])):
                raw = self._change_bytes(raw)
        return raw

    def _good(self, task_id: str) -> dict[str, Any]:
        """An envelope whose body is not yet encoded."""
        dice = self._dice
        later = {
            "task": "tasks.echo",
            "args": [],
            "kwargs": {},
            "options": {},
            "subtask_type": None,
            "immutable": False,
        }
        args, kwargs = dice.choice([(["x"], {}), ([], {"value": {"a": [1, 2.5, None]}}), ([["ä", "\U0001f40d"]], {})])
        followers = {
            "callbacks": dice.choice([None, [later]]),
            "errbacks": dice.choice([None, [later]]),
            "chain": None,
            "chord": None,
        }
        headers = {
            "lang": "py",
            "task": dice.choice(["tasks.echo", "tasks.echo", "tasks.flaky", "tasks.nap"]),
            "id": task_id,
            "retries": 0,
            "root_id": task_id,
            "timelimit": [None, None],
            "argsrepr": "()",
        }
        optional = {
            "eta": "2020-01-01T00:00:00+00:00",
            "expires": "2200-01-01T00:00:00",
            "group": "g",
            "group_index": 0,
            "stamped_headers": ["a"],
            "stamps": {"a": ["b"]},
            "shadow": "s",
            "ignore_result": False,
            "replaced_task_nesting": 0,
            "parent_id": "p",
            "compression": dice.choice(_COMPRESSIONS),
        }
        headers |= {name: value for name, value in optional.items() if dice.random() < 0.15}
        return {
            "body": [args, kwargs, followers],
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": headers,
            "properties": {"body_encoding": "base64", "priority": 0, "correlation_id": task_id, "reply_to": "r"},
        }

    def _change_value(self, content: dict[str, Any]) -> None:
        places: list[tuple[Any, Any]] = []
        # Half of them in the headers, which decide most and are the smallest part.
        _collect(
            content["headers"] if isinstance(content.get("headers"), dict) and self._dice.random() < 0.5 else content,
            places,
        )
        if not places:
            return
        container, place = self._dice.choice(places)
        if isinstance(container, dict) and self._dice.random() < 0.2:
            if self._dice.random() < 0.5:
                del container[place]
                return
            place = self._dice.choice(_NAMES)
        container[place] = deepcopy(self._dice.choice(_VALUES))  # what is in it may be changed too

    def _written(self, content: dict[str, Any]) -> bytes:
        dice = self._dice
        body: Any = content.get("body")
        if not isinstance(body, str):
            data = _text(body, dice)
            headers = content.get("headers")
            wanted = headers.get("compression") if isinstance(headers, dict) else None
            if wanted in _COMPRESSIONS and dice.random() < 0.8:
                data = bomb("zstd") if wanted == "zstd" and dice.random() < 0.2 else compress(data, wanted)[1]
            content["body"] = base64.b64encode(data).decode()
        raw = _text(content, dice)
        if dice.random() < 0.1:  # a key that comes twice
            name = json.dumps(dice.choice(_NAMES)).encode()
            raw = raw.replace(
                b"{", b"{" + name + b": " + _text(dice.choice(_VALUES), dice) + b", ", dice.choice([1, 2])
            )
        return raw

    def _change_bytes(self, raw: bytes) -> bytes:
        dice = self._dice
        if not raw:
            return raw
        at = dice.randrange(len(raw))
        end = min(len(raw), at + dice.choice([1, 2, 10, 200]))
        match dice.randrange(5):
            case 0:
                return raw[:at] + dice.randbytes(1) + raw[at + 1 :]
            case 1:
                return raw[:at] + raw[end:]
            case 2:
                return raw[:at] + dice.randbytes(dice.randrange(1, 9)) + raw[at:]
            case 3:
                return raw[:end] + raw[at:]
            case _:
                return raw[:at] + dice.choice(_SNIPPETS) + raw[at:]


_COMPRESSIONS = ("zlib", "bz2", "lzma", "brotli", "zstd")
_NAMES = (
    *("id", "task", "retries", "eta", "expires", "timelimit", "compression", "ignore_result", "root_id", "parent_id"),
    *("group", "group_index", "stamps", "stamped_headers", "shadow", "callbacks", "errbacks", "chain", "chord", "args"),
    *("kwargs", "options", "subtask_type", "immutable", "headers", "properties", "body", "priority", "body_encoding"),
    *("content-type", "content-encoding", "correlation_id", "reply_to", "link", "countdown", "serializer", "task_id"),
    *("__type__", "__value__", "self", "value", "celeriac_unknown_since", "redelivered", "replaced_task_nesting"),
    *("timestamp", "delivery_info", "", "\x00", "\ud800"),
)
#: No short times: a limit of a millisecond is a good message, and costs its process the life. `@n@` is nested n deep.
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 60, 2**31, 2**53, 2**63, 2**64, -(2**63), 10**30, 1e308, -1e308, -0.0, float("nan")),
    *(float("inf"), "", " ", "x" * 2000, "\x00", "\ud800", "a\udc00b", "\n[ERROR] fake", "%s%n{0}", "ä" * 300),
    *("@50@", "@300@", "@900@", "@960@", "@985@", "@1000@", "@1020@", "@5000@", [], {}, [[]], {"": ""}, [None] * 100),
    *({"__type__": "datetime", "__value__": "x"}, {"__type__": "decimal", "__value__": "1e999999999"}),
    *({"__type__": "uuid", "__value__": {"int": -1}}, {"__type__": "uuid", "__value__": {"surprise": 1}}),
    *({"__type__": "bytes", "__value__": "\ud800"}, {"__type__": "base64", "__value__": "!"}, {"__type__": ["x"]}),
    *({"__type__": {}, "__value__": {}}, {"__type__": "surprise.run", "__value__": "surprise"}),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2020-01-01", "2020-W01", "99999-01-01T00:00"),
    *("application/x-python-serialize", "application/x-yaml", "application/x-msgpack", "application/json", "pickle"),
    *("os.system", "surprise.run", "surprise", "tasks.echo", "builtins.exec", "base64", "binary", "utf-16", "utf-7"),
    *("idna", "punycode", "rot13", "zlib", "unicode_escape", "brotli", "lzma", [{"task": "tasks.echo"}]),
    *([{"task": "surprise.run", "options": 5}], [{"task": "tasks.echo", "args": 5, "kwargs": 5}], {"task": {}}),
    *([{"task": "tasks.echo", "subtask_type": "chord"}], [{"task": "tasks.echo", "options": {"task_id": 5}}]),
    *([{"task": "tasks.echo", "options": {"serializer": "surprise"}}], [60, 60], [60], ["60", 60], [-1, 0], [60] * 9),
)
_SNIPPETS = (
    b'"',
    b"\\",
    b"\\ud800",
    b"\\u0000",
    b"{",
    b"}",
    b"[" * 2000,
    b"\xff",
    b"\xed\xa0\x80",
    b",",
    b"null",
    b"1e999",
)


def _collect(value: Any, places: list[tuple[Any, Any]]) -> None:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        places.append((value, key))
        _collect(value[key], places)


def _text(value: Any, dice: random.Random) -> bytes:
    escaped = dice.random() < 0.8
    text = json.dumps(value, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    for depth in (50, 300, 900, 960, 985, 1000, 1020, 5000):
        opening, closing = dice.choice([(b"[", b"]"), (b'{"a": ', b"}")])
        text = text.replace(f'"@{depth}@"'.encode(), opening * depth + b"1" + closing * depth)
    return text
