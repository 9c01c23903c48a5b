import json
import math
import sys
import types
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.exceptions import DecodeError, EncodeError
from celeriac.serialization import dumps, loads, register_type, unencodable
from celeriac.serialization import json as celeriac_json

TEXT = st.text(st.characters())  # lone surrogates too
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
)
ZONES = st.none() | st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TAGGED = (
    st.datetimes(timezones=ZONES)
    | st.dates()
    | st.times(timezones=ZONES)
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.binary()
)


@given(PLAIN)
def test_plain_values_are_written_as_the_standard_library_writes_them(value):
    assert dumps(value) == json.dumps(value).encode()


@given(PLAIN)
def test_plain_values_come_back_equal(value):
    assert loads(dumps(value)) == value


@given(st.recursive(TAGGED, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_tagged_values_come_back_equal_and_of_their_type(value):
    back = loads(dumps(value))
    assert back == value
    assert type(back) is type(value)


@given(st.binary())
def test_reading_raises_nothing_but_decode_errors(raw):
    try:
        loads(raw)
    except DecodeError:
        pass


@given(st.sampled_from(["datetime", "date", "time", "decimal", "uuid", "bytes", "base64", "?", ""]), PLAIN)
def test_a_tag_with_any_value_raises_nothing_but_decode_errors(kind, value):
    try:
        loads(json.dumps({"__type__": kind, "__value__": value}).encode())
    except DecodeError:
        pass


def test_nan_is_written_and_read():
    assert dumps([math.nan, math.inf]) == b"[NaN, Infinity]"
    back = loads(b"[NaN, -Infinity]")
    assert math.isnan(back[0])
    assert back[1] == -math.inf


def test_a_lone_surrogate_is_written_and_read():
    assert loads(dumps("\ud800")) == "\ud800"


def test_integers_of_any_size_come_back():
    assert loads(dumps(2**200)) == 2**200


def test_bytes_are_text_where_they_are_utf8_and_base64_elsewhere():
    assert dumps(b"ok") == b'{"__type__": "bytes", "__value__": "ok"}'
    assert dumps(b"\xff") == b'{"__type__": "base64", "__value__": "/w=="}'


def test_tags_are_read_within_lists_and_objects():
    raw = b'{"when": [{"__type__": "date", "__value__": "2026-01-02"}]}'
    assert loads(raw) == {"when": [date(2026, 1, 2)]}


def test_an_object_with_more_than_a_tag_is_an_object():
    value = {"__type__": "date", "__value__": "2026-01-02", "more": 1}
    assert loads(json.dumps(value).encode()) == value


def test_an_unknown_tag_is_refused_by_name():
    with pytest.raises(DecodeError, match="unknown tagged type 'money'"):
        loads(b'{"__type__": "money", "__value__": 1}')


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("datetime", "yesterday"),
        ("datetime", 5),
        ("date", None),
        ("time", "25:00"),
        ("decimal", "1.2.3"),
        ("uuid", {"hex": "zz"}),
        ("uuid", {"int": -1}),
        ("uuid", "12345678123446789234567812345678"),
        ("bytes", 5),
        ("base64", "not base64"),
        ("base64", "/w="),
    ],
)
def test_a_bad_value_of_a_tag_is_refused_by_the_tags_name(kind, value):
    with pytest.raises(DecodeError, match=f"bad value for tagged type '{kind}'"):
        loads(json.dumps({"__type__": kind, "__value__": value}).encode())


@pytest.mark.parametrize("raw", [b"", b"{", b"[1,]", b"nul", b"'a'", b"\xff", b'{"a": 1} x', b"\x80\x04K\x01."])
def test_what_is_not_json_is_refused(raw):
    with pytest.raises(DecodeError, match="not JSON"):
        loads(raw)


def test_100_000_brackets_are_refused_without_a_crash():
    with pytest.raises(DecodeError, match="nested too deeply"):
        loads(b"[" * 100_000 + b"]" * 100_000)


def test_a_value_nested_too_deeply_cannot_be_written():
    value = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(EncodeError, match="nested too deeply"):
        dumps(value)


def test_a_value_that_contains_itself_cannot_be_written():
    value = []
    value.append(value)
    with pytest.raises(EncodeError, match="Circular"):
        dumps(value)


@pytest.mark.parametrize("value", [object(), {1, 2}, timedelta(1), 1j, bytearray(b"a"), {(1, 2): 3}, ValueError("x")])
def test_what_has_no_form_is_refused(value):
    with pytest.raises(EncodeError):
        dumps({"a": [value]})


def test_the_refusal_names_the_type_and_shows_a_little_of_the_value():
    with pytest.raises(EncodeError, match=r"no form for set \(\{0, 1, .{60,80}\.\.\.\)"):
        dumps(set(range(1000)))


def test_a_broken_repr_does_not_hide_what_was_wrong():
    class Broken:
        def __repr__(self):
            raise RuntimeError

    with pytest.raises(EncodeError, match=r"Broken \(its repr raises RuntimeError"):
        dumps(Broken())


def test_the_json_hook_says_what_is_written():
    class Money:
        def __json__(self):
            return {"amount": Decimal("9.95")}

    assert loads(dumps([Money()])) == [{"amount": Decimal("9.95")}]


def test_a_json_hook_that_raises_is_an_encode_error():
    class Money:
        def __json__(self):
            raise LookupError("no rate")

    with pytest.raises(EncodeError, match=r"LookupError.*no rate"):
        dumps(Money())


@pytest.fixture
def own_types(monkeypatch):
    """What a test registers is gone after it."""
    for table in ("_OWN_TYPES", "_READERS"):
        monkeypatch.setattr(celeriac_json, table, dict(getattr(celeriac_json, table)))


@pytest.mark.usefixtures("own_types")
def test_a_registered_type_is_written_under_its_marker_and_read_back():
    register_type(complex, "complex", lambda value: [value.real, value.imag], lambda parts: complex(*parts))
    assert dumps(1 + 2j) == b'{"__type__": "complex", "__value__": [1.0, 2.0]}'
    assert loads(dumps({"a": [1 + 2j]})) == {"a": [1 + 2j]}


@pytest.mark.usefixtures("own_types")
def test_a_type_registered_without_a_marker_is_read_as_what_was_made_of_it():
    register_type(set, None, sorted)
    assert loads(dumps({3, 1, 2})) == [1, 2, 3]


@pytest.mark.usefixtures("own_types")
def test_a_registered_reader_that_raises_is_a_decode_error():
    def fail(value):
        raise LookupError("no such currency")

    register_type(complex, "money", str, fail)
    with pytest.raises(DecodeError, match="bad value for tagged type 'money': LookupError: no such currency"):
        loads(dumps(1j))


def test_djangos_lazy_text_is_text(monkeypatch):
    class Promise:
        def __str__(self):
            return "Zürich"

    monkeypatch.setitem(sys.modules, "django.utils.functional", types.SimpleNamespace(Promise=Promise))
    assert loads(dumps([Promise()])) == ["Zürich"]


def test_unencodable_gives_the_reason_or_none():
    assert unencodable([1, b"a", datetime.now(UTC), time(1), uuid.uuid4()]) is None
    assert "no form for object" in unencodable(object())
