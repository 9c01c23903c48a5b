"""Serializers, compressions and results beside the released Celery and kombu (formats/oracle.py), in both directions."""

from __future__ import annotations

import base64
import datetime
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from celeriac import compression, serialization
from celeriac.documents import Document, describe_exception
from celeriac.exceptions import TaskRevokedError
from celeriac.messages import Body, Message, Outgoing, decode, decode_body, encode, encode_body
from wire.fleet.sides import need_peers
from wire.formats import shop

#: The first test may have to install Celery.
pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).resolve().parents[2]
Oracle = Callable[..., dict[str, Any]]

SERIALIZERS = ["json", "yaml", "msgpack", "pickle"]
COMPRESSIONS = ["gzip", "zlib", "bzip2", "bzip", "lzma", "xz", "brotli", "zstd", "zstandard"]
#: Not the others: their libraries may be of different versions on both sides.
SAME_BYTES = (None, "gzip", "bzip2", "lzma")
ANY_TYPE = frozenset(serialization.CONTENT_TYPES.values())
NAMES = {"datetime": datetime, "Decimal": Decimal, "UUID": UUID, "shop": shop}
NOW = "2026-01-02T03:04:05+00:00"

PLAIN = [
    "None",
    "True",
    "[0, -1, 127, 128, -33, 65536, 2**32, 2**63, -(2**63)]",
    "[0.5, -0.0, 1e22]",
    "'Zürich – Ĝis! 🥬'",
    "'yes', 'null', '1', '- a', 'a: b', ' ', ''",
    "'quote \" backslash \\\\ newline \\n nul \\x00 tab \\t'",
    "'word ' * 60",
    "{'z': 1, 'a': [{'b': []}, {}], 'long': list(range(40))}",
    "(1, (2, 3))",
]
BYTES = ["b''", "b'plain'", "b'\\xff\\x00'", "{'deep': [b'a' * 300]}"]
DATES = ["datetime.date(2026, 1, 2)", "datetime.datetime(2026, 1, 2, 3, 4, 5, 678901)"]
TYPES = ["Decimal('1.50')", f"UUID('{UUID(int=5)}')", "datetime.timedelta(1)", "{1: {2, 3}, (4,): 5j}"]
VALUES = [
    *((name, text) for name in SERIALIZERS for text in (*PLAIN, *BYTES)),
    *((name, text) for name in ("json", "yaml", "pickle") for text in DATES),
    *(("pickle", text) for text in TYPES),
]


def value_of(text: str) -> Any:
    return eval(text, NAMES)


def as_text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def plain(data: bytes, content_type: str | None) -> bytes:
    return data if content_type is None else compression.decompress(data, content_type)


@pytest.fixture(scope="module")
def ask() -> Iterator[Oracle]:
    """A question to the oracle; an error of its own fails the test."""
    need_peers()
    process = subprocess.Popen(
        [ROOT / ".peers" / "celery-formats" / "bin" / "python", "-m", "wire.formats.oracle"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests"), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None

        def ask(do: str, **fields: Any) -> dict[str, Any]:
            print(json.dumps({"do": do, **fields}), file=process.stdin, flush=True)
            answer: dict[str, Any] = json.loads(process.stdout.readline())
            assert "error" not in answer, answer["error"]
            return answer

        yield ask
        process.stdin.close()


# ── serializers ──


@pytest.mark.parametrize(("serializer", "text"), VALUES)
def test_a_value_is_written_as_kombu_writes_it(ask: Oracle, serializer: str, text: str) -> None:
    theirs = ask("dump", value=text, serializer=serializer)
    ours = serialization.encode(value_of(text), serializer)
    assert (ours.content_type, ours.content_encoding) == (theirs["content_type"], theirs["content_encoding"])
    assert as_text(ours.data) == theirs["data"]


@pytest.mark.parametrize(("serializer", "text"), VALUES)
def test_a_value_is_read_as_kombu_reads_it(ask: Oracle, serializer: str, text: str) -> None:
    ours = serialization.encode(value_of(text), serializer)
    theirs = ask(
        "load", data=as_text(ours.data), content_type=ours.content_type, content_encoding=ours.content_encoding
    )
    assert repr(serialization.decode(ours.data, ours.content_type, ours.content_encoding)) == theirs["value"]


# ── compressions ──


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_what_either_side_compresses_the_other_reads(ask: Oracle, name: str) -> None:
    data = b"The same words, the same bytes. " * 20
    content_type, ours = compression.compress(data, name)
    theirs = ask("compress", data=as_text(data), name=name)
    assert content_type == theirs["content_type"]
    assert compression.decompress(base64.b64decode(theirs["data"]), content_type) == data
    assert base64.b64decode(ask("decompress", data=as_text(ours), content_type=content_type)["data"]) == data


# ── messages ──

CALL = {"args": "(1, 'é', [2.5, None])", "kwargs": "{'to': 'a@b.at', 'empty': {}}"}


@pytest.mark.parametrize("compressed_by", [None, "gzip", "bzip2", "lzma", "brotli", "zstd"])
@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_celerys_message_is_read_and_written_as_celery_does(
    ask: Oracle, serializer: str, compressed_by: str | None
) -> None:
    raw = ask("publish", **CALL, serializer=serializer, compression=compressed_by)["raw"]
    message = decode(raw.encode())
    assert isinstance(message, Message)
    body = decode_body(message, ANY_TYPE)
    assert (body.args, body.kwargs) == (list(value_of(CALL["args"])), value_of(CALL["kwargs"]))
    written = encode_body(body, serializer, compressed_by)
    assert written.compression == message.headers.get("compression")
    assert (written.content_type, written.content_encoding) == (message.content_type, message.content_encoding)
    assert plain(written.data, written.compression) == plain(message.body, written.compression)
    if compressed_by in SAME_BYTES:
        assert written.data == message.body


@pytest.mark.parametrize("compressed_by", [None, "gzip", "bzip2", "lzma", "brotli", "zstd"])
@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_celery_reads_our_message(ask: Oracle, serializer: str, compressed_by: str | None) -> None:
    body = Body([1, "é", b"\xff"], {"to": [None]})
    written = encode_body(body, serializer, compressed_by)
    headers = {"task": "tasks.echo", "id": "id-1"}
    if written.compression is not None:
        headers["compression"] = written.compression
    message = Message.from_headers(
        headers, written.data, content_type=written.content_type, content_encoding=written.content_encoding
    )
    raw = encode(Outgoing(message, "celery"), {"delivery_tag": "1"}).decode()
    args, kwargs, embed = value_of(ask("receive", raw=raw, accept=[written.content_type])["value"])
    assert (list(args), kwargs) == (body.args, body.kwargs)
    assert embed == {}


# ── results ──


@pytest.mark.parametrize("compressed_by", [None, "gzip", "bzip2", "lzma", "brotli", "zstd"])
@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_a_result_is_stored_and_read_as_celery_does(ask: Oracle, serializer: str, compressed_by: str | None) -> None:
    result = "{'sum': [1, 2.5, None, 'é']}"
    theirs = ask("store", state="SUCCESS", result=result, serializer=serializer, compression=compressed_by)
    ours = Document("id-1", "SUCCESS", value_of(result), date_done=NOW)
    raw = as_text(ours.encode(serializer, compressed_by))
    if compressed_by in SAME_BYTES:
        assert raw == theirs["raw"]
    assert repr(value_of(result)) in ask("fetch", raw=raw, serializer=serializer)["value"]
    assert Document.decode("id-1", base64.b64decode(theirs["raw"]), serializer, ANY_TYPE) == ours


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_an_extended_result_is_stored_and_read_as_celery_does(ask: Oracle, serializer: str) -> None:
    extended = {
        "task": "tasks.add",
        "args": [1, "é"],
        "kwargs": {"k": None},
        "hostname": "celery@host",
        "retries": 2,
        "group": "group-1",
        "parent_id": "parent-1",
        "delivery_info": {"routing_key": "mail"},
    }
    theirs = ask("store", state="SUCCESS", result="5", serializer=serializer, extended=extended)
    ours = Document(
        "id-1",
        "SUCCESS",
        5,
        date_done=NOW,
        parent_id="parent-1",
        group_id="group-1",
        name="tasks.add",
        args=[1, "é"],
        kwargs={"k": None},
        worker="celery@host",
        retries=2,
        queue="mail",
    )
    assert as_text(ours.encode(serializer)) == theirs["raw"]
    assert Document.decode("id-1", base64.b64decode(theirs["raw"]), serializer, ANY_TYPE) == ours


@pytest.mark.parametrize("error", ["ValueError('why', 5)", "KeyError()", "shop.OutOfStock('SKU-1', 3)"])
@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_an_exception_is_stored_and_read_as_celery_does(ask: Oracle, serializer: str, error: str) -> None:
    theirs = ask("store", state="FAILURE", result=error, serializer=serializer)
    described = describe_exception(value_of(error), serializer)
    ours = Document("id-1", "FAILURE", described, date_done=NOW).encode(serializer)
    assert as_text(ours) == theirs["raw"]
    again = Document.decode("id-1", base64.b64decode(theirs["raw"]), serializer, ANY_TYPE).value()
    assert (type(again), again.args) == (type(value_of(error)), value_of(error).args)
    assert repr(value_of(error)) in ask("fetch", raw=as_text(ours), serializer=serializer)["value"]


def test_an_exception_that_celery_wraps_for_pickle_comes_back_as_itself(ask: Oracle) -> None:
    theirs = ask("store", state="FAILURE", result="shop.TwoParts('SKU-1', 3)", serializer="pickle")
    again = Document.decode("id-1", base64.b64decode(theirs["raw"]), "pickle", ANY_TYPE).value()
    assert (type(again), again.args) == (shop.TwoParts, ("SKU-1: 3",))


def test_celery_reads_an_exception_that_we_could_not_pickle(ask: Oracle) -> None:
    described = describe_exception(shop.TwoParts("SKU-1", 3), "pickle")
    ours = Document("id-1", "FAILURE", described, date_done=NOW).encode("pickle")
    assert "TwoParts" in ask("fetch", raw=as_text(ours), serializer="pickle")["value"]


def test_celery_reads_our_own_exceptions_from_a_pickle_as_its_own(ask: Oracle) -> None:
    described = describe_exception(TaskRevokedError("expired"), "pickle")
    ours = Document("id-1", "REVOKED", described, date_done=NOW).encode("pickle")
    assert "TaskRevokedError('expired')" in ask("fetch", raw=as_text(ours), serializer="pickle")["value"]


def test_celerys_own_exceptions_are_read_from_a_pickle_where_celery_is_not_installed(ask: Oracle) -> None:
    theirs = ask(
        "store",
        state="REVOKED",
        result="__import__('celery').exceptions.TaskRevokedError('expired')",
        serializer="pickle",
    )
    again = Document.decode("id-1", base64.b64decode(theirs["raw"]), "pickle", ANY_TYPE).value()
    assert (type(again), again.args) == (TaskRevokedError, ("expired",))
