import base64
import json
import os
import pickle
import zlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac import serialization
from celeriac.exceptions import ConfigError, DecodeError, EncodeError
from celeriac.messages import Body, Malformed, Message, Outgoing, decode, decode_body, encode, encode_body

ACCEPT = frozenset({"application/json"})


def raw(headers=(), properties=(), without=None, **envelope):
    """An envelope as Celery writes it, with changes."""
    content = {
        "body": base64.b64encode(b'[[], {}, {"callbacks": null}]').decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": "a.b", "id": "id-1", "retries": 0, **dict(headers)},
        "properties": {"priority": 0, "body_encoding": "base64", **dict(properties)},
        **envelope,
    }
    content.pop(without, None)
    return json.dumps(content).encode()


def test_a_message_is_read():
    message = decode(raw({"retries": 2, "x": [1]}, {"priority": 3, "reply_to": "r"}))
    assert isinstance(message, Message)
    assert (message.id, message.task, message.retries, message.priority) == ("id-1", "a.b", 2, 3)
    assert message.headers["x"] == [1]
    assert message.properties["reply_to"] == "r"


@given(
    st.builds(
        dict,
        id=st.text(st.characters(exclude_categories=["Cs"])),
        task=st.text(st.characters(exclude_categories=["Cs"])),
        retries=st.integers(0, 2**31),
        eta=st.none() | st.datetimes(timezones=st.just(UTC)),
        priority=st.integers(0, 9),
        body=st.binary(),
    )
)
def test_what_is_encoded_is_decoded_to_the_same(fields):
    headers = {"id": fields["id"], "task": fields["task"], "retries": fields["retries"]}
    if fields["eta"] is not None:
        headers["eta"] = fields["eta"].isoformat()
    message = Message.from_headers(headers, fields["body"], priority=fields["priority"])
    back = decode(encode(Outgoing(message, "celery")))
    assert back == message
    assert back.eta == fields["eta"]


@given(st.binary())
def test_decoding_never_raises(data):
    assert isinstance(decode(data), Malformed)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(
    st.sampled_from(["body", "content-encoding", "content-type", "headers", "properties"])
    | st.sampled_from(["id", "task", "retries", "eta", "expires"]),
    JSON,
)
def test_decoding_never_raises_whatever_a_field_holds(field, value):
    envelope = json.loads(raw())
    (envelope if field in envelope else envelope["headers"])[field] = value
    data = json.dumps(envelope).encode()
    assert isinstance(decode(data), (Message, Malformed))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", 5),
        ("id", None),
        ("task", ["a"]),
        ("task", None),
        ("retries", "2"),
        ("retries", 1.5),
        ("retries", True),
        ("eta", 1_767_323_045),
        ("eta", "tomorrow"),
        ("expires", {"in": 5}),
        ("expires", "2026-13-01T00:00:00"),
    ],
)
def test_a_header_of_the_wrong_type_is_malformed_and_named(name, value):
    data = raw({name: value})
    message = decode(data)
    assert isinstance(message, Malformed)
    assert f"header {name!r}" in message.reason
    assert message.raw == data
    assert message.id == (None if name == "id" else "id-1")
    assert message.task == (None if name == "task" else "a.b")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (raw(without="headers"), "field `headers`"),
        (b'{"headers": [], "properties": {}}', "`$.headers`"),
        (raw(without="properties"), "field `properties`"),
        (raw(without="body"), "field `body`"),
        (raw(body=5), "`$.body`"),
        (raw(body="?"), "not base64"),
        (raw(body="é"), "not base64"),
        (raw(properties={"body_encoding": "base85"}), "unknown body encoding 'base85'"),
        (raw({"id": "id-1"}, {"priority": "high"}), "`$.properties.priority`"),
        (raw(**{"content-type": 5}), "`$.content-type`"),
        (b"", "not JSON"),
        (b'{"headers": {"nested":' + b"[" * 100_000, "nested too deeply"),
        (b"[]", "not a message"),
        (b"null", "not a message"),
        (b"\x80\x04}", "not JSON"),
        (b'{"headers": "\xff"', "not"),
    ],
)
def test_what_is_no_message_is_malformed_with_the_reason(data, reason):
    message = decode(data)
    assert isinstance(message, Malformed)
    assert reason in message.reason
    assert message.raw == data


def test_a_broken_body_leaves_id_and_task_readable():
    message = decode(raw(body="?"))
    assert (message.id, message.task) == ("id-1", "a.b")


@pytest.mark.parametrize(("priority", "kept"), [(-1, 0), (0, 0), (9, 9), (10, 9), (255, 9), (None, 0)])
def test_a_priority_out_of_range_is_clamped(priority, kept):
    assert decode(raw(properties={"priority": priority})).priority == kept


@pytest.mark.parametrize("wrong", [b'"headers": ', b'"properties": '])
def test_the_id_is_read_of_a_message_that_is_wrong_elsewhere(wrong):
    message = decode(raw(properties={"correlation_id": "id-1"}).replace(wrong, wrong + b'[], "was": '))
    assert isinstance(message, Malformed)
    assert message.id == "id-1"


@pytest.mark.parametrize("depth", range(900, 1010, 5))
def test_a_header_that_is_nested_as_deep_as_can_be_read_is_malformed(depth):
    data = raw({"retries": "@"}).replace(b'"@"', b"[" * depth + b"]" * depth)
    assert isinstance(decode(data), Malformed)


def test_retries_below_zero_are_malformed():
    message = decode(raw({"retries": -1}))
    assert isinstance(message, Malformed)
    assert message.reason == "header 'retries' is -1, below 0"


def test_a_naive_time_is_utc():
    assert decode(raw({"eta": "2026-01-02T03:04:05"})).eta == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_an_aware_time_keeps_its_zone():
    eta = decode(raw({"eta": "2026-01-02T03:04:05+02:00"})).eta
    assert eta == datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))


def test_a_body_without_base64_is_its_text():
    message = decode(raw(body='[["ü"], {}, {}]', properties={"body_encoding": None}))
    assert decode_body(message, ACCEPT).args == ["ü"]


def test_a_header_is_replaced_and_another_removed():
    message = decode(raw({"eta": "2026-01-02T03:04:05", "x": None}))
    changed = message.with_headers(retries=3, eta=None)
    assert (changed.retries, changed.eta) == (3, None)
    assert changed.headers == {"lang": "py", "task": "a.b", "id": "id-1", "retries": 3, "x": None}
    assert message.retries == 0


def test_a_copy_keeps_what_was_not_changed():
    message = decode(raw(properties={"priority": 5, "reply_to": "r"}))
    changed = message.with_headers(retries=1)
    assert (changed.priority, changed.properties, changed.body) == (5, {"reply_to": "r"}, message.body)
    assert message.with_priority(1).priority == 1


def test_a_changed_body_brings_its_own_type_and_compression():
    written = encode_body(Body([1], {}), "msgpack", "bzip2")
    changed = decode(raw({"compression": "application/x-gzip"})).with_body(written)
    assert (changed.body, changed.content_type, changed.content_encoding) == (
        written.data,
        "application/x-msgpack",
        "binary",
    )
    assert changed.headers["compression"] == "application/x-bz2"
    assert "compression" not in changed.with_body(encode_body(Body([1], {}))).headers


def test_the_queue_stands_in_the_envelope():
    envelope = json.loads(encode(Outgoing(decode(raw()), "mail")))
    assert envelope["properties"]["delivery_info"] == {"exchange": "", "routing_key": "mail"}


# ── bodies ──


def body(data, **fields):
    return decode_body(Message(id="1", task="a", body=data, **fields), ACCEPT)


def test_a_body_comes_back():
    written = Body([1], {"a": b"\xff"}, {"chain": []})
    assert body(encode_body(written).data) == written


def test_a_body_is_written_as_it_is():
    assert encode_body(Body([], {}, {"callbacks": None})).data == b'[[], {}, {"callbacks": null}]'


def through(serializer, compression=None, body=None):
    """A body written, and read by an application that accepts its type."""
    written = encode_body(body or Body([1, "é"], {"a": None}, {"chain": []}), serializer, compression)
    headers = {"compression": written.compression} if written.compression else {}
    message = Message.from_headers(
        {"id": "1", "task": "a", **headers},
        written.data,
        content_type=written.content_type,
        content_encoding=written.content_encoding,
    )
    return decode_body(message, frozenset({written.content_type}))


@pytest.mark.parametrize("compression", [None, "zlib", "bzip2", "lzma", "brotli", "zstd"])
@pytest.mark.parametrize("serializer", ["json", "yaml", "msgpack", "pickle"])
def test_a_body_comes_back_from_every_serializer_and_compression(serializer, compression):
    assert through(serializer, compression) == Body([1, "é"], {"a": None}, {"chain": []})


def test_a_pickled_body_keeps_the_types_of_its_arguments():
    assert through("pickle", body=Body([(1, {2})], {})).args == [(1, {2})]


def test_json_and_no_compression_are_the_default():
    written = encode_body(Body([], {}))
    assert (written.content_type, written.content_encoding, written.compression) == ("application/json", "utf-8", None)


def test_an_unknown_serializer_or_compression_is_refused_by_name():
    with pytest.raises(ConfigError, match="'picle'; did you mean 'pickle'"):
        encode_body(Body([], {}), "picle")
    with pytest.raises(ConfigError, match="no compression 'zlip'"):
        encode_body(Body([], {}), compression="zlip")


class Mine:
    """Pickles as a call that is seen when it is unpickled."""

    def __init__(self, sprung):
        self.sprung = sprung

    def __reduce__(self):
        return (os.mkdir, (self.sprung,))


@pytest.fixture
def trap(tmp_path):
    """A pickle that makes a folder when it is read, and whether it did."""
    folder = tmp_path / "sprung"
    return pickle.dumps(((), {"a": Mine(str(folder))}, {})), folder.exists


def test_nothing_is_unpickled_that_is_not_accepted(trap):
    data, sprung = trap
    message = Message(id="1", task="a", body=data, content_type="application/x-python-serialize")
    with pytest.raises(DecodeError, match="not accepted"):
        decode_body(message, ACCEPT)
    assert not sprung()
    decode_body(message, frozenset({message.content_type}))
    assert sprung()


def test_nothing_is_decompressed_that_is_not_accepted():
    message = Message(
        id="1", task="a", body=b"", content_type="application/x-yaml", headers={"compression": "application/x-gzip"}
    )
    with pytest.raises(DecodeError, match="not accepted"):
        decode_body(message, ACCEPT)


def test_names_of_arguments_that_are_no_text_are_refused():
    body = pickle.dumps(((), {5: 1}, {}))
    message = Message(id="1", task="a", body=body, content_type="application/x-python-serialize")
    with pytest.raises(DecodeError, match="kwargs have the key 5"):
        decode_body(message, frozenset({message.content_type}))


@pytest.mark.parametrize(
    "data",
    [b"{}", b"[]", b"[[], {}]", b"[[], {}, {}, {}]", b"null", b"[{}, {}, {}]", b"[[], [], {}]", b"[[], {}, null]"],
)
def test_a_body_of_another_shape_is_refused(data):
    with pytest.raises(DecodeError, match="body"):
        body(data)


@pytest.mark.parametrize("data", [b"", b"[", b"\xff", b'[[{"__type__": "os.system", "__value__": 1}], {}, {}]'])
def test_a_body_that_is_not_json_is_refused(data):
    with pytest.raises(DecodeError, match="not JSON"):
        body(data)


def test_a_content_type_that_is_not_accepted_is_refused_by_name():
    with pytest.raises(DecodeError, match=r"'application/x-python-serialize' is not accepted; accept_content allows"):
        body(b"", content_type="application/x-python-serialize")


def test_an_accepted_content_type_without_a_serializer_is_refused():
    with pytest.raises(DecodeError, match="no serializer"):
        decode_body(
            Message(id="1", task="a", body=b"", content_type="application/x-none"), frozenset({"application/x-none"})
        )


def test_a_compressed_body_is_read():
    compressed = zlib.compress(b"[[5], {}, {}]")
    assert body(compressed, headers={"compression": "application/x-gzip"}).args == [5]


@pytest.mark.parametrize("compression", [5, "application/x-none", "application/x-brotli", "application/x-gzip"])
def test_a_body_that_cannot_be_decompressed_is_refused(compression):
    with pytest.raises(DecodeError):
        body(b"[[5], {}, {}]", headers={"compression": compression})


def test_half_a_character_in_a_header_does_not_make_a_message_unreadable():
    message = decode(raw({"argsrepr": "('\ud800.txt', 'Zürich')"}))
    assert isinstance(message, Message)
    assert message.headers["argsrepr"] == "('?.txt', 'Zürich')"
    assert decode(encode(Outgoing(message, "celery"))).headers == message.headers


@pytest.mark.parametrize("text", [b'{"a": "\\ud800"', b'{"a": "\\ud800", "b": NaN}', b'"\\ud800"', b'"\\ud800 \xff"'])
def test_half_a_character_in_what_is_no_message_is_malformed(text):
    assert isinstance(decode(text), Malformed)


# ── Celery's first protocol ──


def protocol_1(headers=(), pack=bytes, **content):
    data = base64.b64encode(pack(json.dumps(content).encode())).decode()
    envelope = {"body": data, "headers": dict(headers), "properties": {"body_encoding": "base64"}}
    return decode(json.dumps(envelope).encode())


def test_a_compressed_message_of_protocol_1_is_read():
    message = protocol_1({"compression": "application/x-gzip"}, zlib.compress, task="a.b", id="id-1", args=["x" * 99])
    assert decode_body(message, ACCEPT).args == ["x" * 99]


def test_a_message_of_protocol_1_is_read():
    callbacks = [{"task": "c"}]
    message = protocol_1(
        task="a.b", id="id-1", args=[1], kwargs={"k": 2}, retries=3, eta="2026-01-02T03:04:05", callbacks=callbacks
    )
    assert (message.id, message.task, message.retries) == ("id-1", "a.b", 3)
    assert message.eta == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    read = decode_body(message, ACCEPT)
    assert (read.args, read.kwargs, read.embed["callbacks"]) == ([1], {"k": 2}, callbacks)


def packed_protocol_1(serializer, content, **properties):
    encoded = serialization.encode(content, serializer)
    envelope = {
        "body": base64.b64encode(encoded.data).decode(),
        "content-type": encoded.content_type,
        "content-encoding": encoded.content_encoding,
        "headers": {},
        "properties": {"body_encoding": "base64", **properties},
    }
    return decode(json.dumps(envelope).encode())


@pytest.mark.parametrize("serializer", ["yaml", "msgpack"])
def test_a_message_of_protocol_1_in_another_format_is_read_where_it_is_accepted(serializer):
    content = {"task": "a.b", "id": "id-1", "args": [b"\xff"], "kwargs": {"k": 2}, "eta": "2026-01-02T03:04:05"}
    message = packed_protocol_1(serializer, content)
    assert (message.id, message.task) == ("id-1", "a.b")
    assert message.eta == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    read = decode_body(message, frozenset({serialization.content_type_of(serializer)}))
    assert (read.args, read.kwargs) == ([b"\xff"], {"k": 2})
    with pytest.raises(DecodeError, match="not accepted"):
        decode_body(message, ACCEPT)


def test_a_pickled_message_of_protocol_1_is_malformed_and_not_unpickled(tmp_path):
    folder = tmp_path / "sprung"
    message = packed_protocol_1("pickle", {"task": "a.b", "id": Mine(str(folder))}, correlation_id="id-1")
    assert isinstance(message, Malformed)
    assert "task_protocol 2" in message.reason
    assert message.id == "id-1"
    assert not folder.exists()


@pytest.mark.parametrize("content", [{"id": "id-1"}, {"task": 5, "id": "id-1"}, {"task": "a.b"}])
def test_what_is_no_message_of_protocol_1_either_is_malformed(content):
    assert isinstance(protocol_1(**content), Malformed)


@pytest.mark.parametrize("depth", [100, 300, 320, 330, 340, 500, 900, 950, 980, 1000, 5000, 100_000])
def test_a_message_of_protocol_1_may_be_nested_without_a_crash(depth):
    nested = "[[" + "[" * depth + "]" * depth + "]]"
    data = base64.b64encode(f'{{"task": "a.b", "id": "id-1", "args": {nested}}}'.encode()).decode()
    envelope = {"body": data, "headers": {}, "properties": {"body_encoding": "base64"}}
    assert isinstance(decode(json.dumps(envelope).encode()), (Message, Malformed))


# ── the body on the wire ──


def envelope_of(serializer="json", compression=None, args=("é\n",)):
    written = encode_body(Body(list(args), {}), serializer, compression)
    headers = {"compression": written.compression} if written.compression else {}
    message = Message.from_headers(
        {"id": "1", "task": "a", **headers},
        written.data,
        content_type=written.content_type,
        content_encoding=written.content_encoding,
    )
    raw = encode(Outgoing(message, "q"))
    assert decode(raw).body == written.data
    return json.loads(raw)


@pytest.mark.parametrize("serializer", ["json", "yaml"])
def test_text_travels_as_text(serializer):
    envelope = envelope_of(serializer)
    assert "body_encoding" not in envelope["properties"]
    assert "[" in envelope["body"] or "- " in envelope["body"]


@pytest.mark.parametrize(
    ("serializer", "compression"), [("pickle", None), ("msgpack", None), ("json", "zlib"), ("yaml", "bzip2")]
)
def test_what_is_no_text_travels_in_base64(serializer, compression):
    assert envelope_of(serializer, compression)["properties"]["body_encoding"] == "base64"


@pytest.mark.parametrize("data", [b"\xff", b"\xed\xa0\x80", b"", b"\x00", "\u2028".encode()])
def test_any_body_comes_back_from_the_wire(data):
    message = Message.from_headers({"id": "1", "task": "a"}, data)
    assert decode(encode(Outgoing(message, "q"))).body == data


def test_half_a_character_in_an_argument_comes_back():
    body = encode_body(Body(["\ud800"], {}))
    message = decode(encode(Outgoing(Message.from_headers({"id": "1", "task": "a"}, body.data), "q")))
    assert decode_body(message, ACCEPT).args == ["\ud800"]


def test_what_workers_fill_in_is_not_written():
    written = json.loads(encode(Outgoing(Message.from_headers({"id": "1", "task": "a"}, b"[]"), "q")))
    assert written["properties"] == {"correlation_id": "1", "delivery_info": {"exchange": "", "routing_key": "q"}}


def test_a_header_that_json_lacks_is_named():
    with pytest.raises(EncodeError, match=r"unit\.job: the message cannot be written"):
        encode(Outgoing(Message.from_headers({"id": "1", "task": "unit.job", "x": object()}, b"[]"), "q"))
