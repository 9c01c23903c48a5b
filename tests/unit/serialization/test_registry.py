import datetime
import json
import sys
from collections import OrderedDict
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac import serialization
from celeriac.exceptions import ConfigError, DecodeError, EncodeError
from celeriac.serialization import Encoded, content_type_of, decode, encode, registry, unencodable

TYPES = {
    "json": ("application/json", "utf-8"),
    "pickle": ("application/x-python-serialize", "binary"),
    "yaml": ("application/x-yaml", "utf-8"),
    "msgpack": ("application/x-msgpack", "binary"),
}
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text("aé🥬 1:-#'"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("aé 1:-#'"), inner, max_size=4),
    max_leaves=10,
)


def again(value, serializer):
    encoded = encode(value, serializer)
    return decode(encoded.data, encoded.content_type, encoded.content_encoding)


@pytest.fixture
def reversed_text():
    """A serializer of the application's own, gone after the test."""

    def register(encoder=lambda text: text[::-1], decoder=lambda raw: raw.decode()[::-1], **options):
        serialization.register("reversed", encoder, decoder, "application/x-reversed", **options)

    yield register
    serialization.unregister("reversed")


@pytest.mark.parametrize("name", TYPES)
def test_content_types_and_encodings_are_celerys(name):
    encoded = encode([1], name)
    assert (encoded.content_type, encoded.content_encoding) == TYPES[name]
    assert content_type_of(name) == content_type_of(TYPES[name][0]) == TYPES[name][0]
    assert serialization.name_of(TYPES[name][0]) == name
    assert serialization.CONTENT_TYPES[name] == TYPES[name][0]


def test_the_four_are_there():
    assert set(serialization.names()) == set(TYPES)


@pytest.mark.parametrize("name", TYPES)
@given(value=PLAIN)
def test_plain_data_comes_back_equal(name, value):
    assert again(value, name) == value


@pytest.mark.parametrize("name", ["yaml", "msgpack", "pickle"])
def test_bytes_stay_bytes(name):
    assert again([b"\xff", "text"], name) == [b"\xff", "text"]


def test_json_by_name_is_json():
    assert encode({"a": Decimal("1.5")}, "json").data == serialization.dumps({"a": Decimal("1.5")})


def test_pickle_keeps_types():
    value = (1, {2: {3}}, OrderedDict(a=Decimal("1.5")), datetime.date(2026, 1, 2))
    assert again(value, "pickle") == value


def test_pickles_are_of_the_protocol_that_celery_reads(monkeypatch):
    assert encode([], "pickle").data[:2] == b"\x80\x04"
    monkeypatch.setenv("PICKLE_PROTOCOL", "2")
    assert encode([], "pickle").data[:2] == b"\x80\x02"


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("json", {1, 2}, "set"),
        ("yaml", [object()], "object"),
        ("msgpack", {"a": Decimal(1)}, "Decimal"),
        ("msgpack", datetime.datetime(2026, 1, 2), "datetime"),
        ("msgpack", 2**64, "nteger"),
        ("pickle", lambda: None, "lambda"),
    ],
)
def test_a_value_that_cannot_be_written_is_named(name, value, named):
    with pytest.raises(EncodeError, match=named):
        encode(value, name)
    assert named in unencodable(value, name)


@pytest.mark.parametrize("name", TYPES)
def test_a_value_nested_too_deeply_cannot_be_written(name):
    value = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(EncodeError):
        encode(value, name)


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("json", b"{"),
        ("yaml", b"[1"),
        ("yaml", b"!!python/object/apply:os.system ['true']"),
        ("yaml", b"\xff\xff"),
        ("msgpack", b""),
        ("msgpack", b"\x93\x01"),
        ("msgpack", b"\x81\x01\x02"),
        ("pickle", b""),
        ("pickle", b"\x80\x04K\x01"),
        ("pickle", b"cnot_a_module\nThing\n."),
    ],
)
def test_what_cannot_be_read_is_a_decode_error_that_names_the_format(name, raw):
    with pytest.raises(DecodeError, match=f"(?i)not {name}"):
        decode(raw, TYPES[name][0], TYPES[name][1])


@given(st.binary())
def test_reading_msgpack_raises_nothing_but_decode_errors(raw):
    try:
        decode(raw, "application/x-msgpack", "binary")
    except DecodeError:
        pass


@given(st.binary() | st.text().map(str.encode))
def test_reading_yaml_raises_nothing_but_decode_errors(raw):
    try:
        decode(raw, "application/x-yaml")
    except DecodeError:
        pass


def test_an_unknown_name_is_refused_with_the_one_that_was_meant():
    for use in (content_type_of, serialization.unregister, lambda name: encode(1, name)):
        with pytest.raises(ConfigError, match=r"no serializer 'jsn'; did you mean 'json'\?"):
            use("jsn")


def test_an_unknown_name_like_no_other_is_refused_with_all_that_there_are():
    with pytest.raises(ConfigError, match=r"no serializer 'protobuf'; there are json, pickle, yaml, msgpack"):
        content_type_of("protobuf")


def test_an_unknown_content_type_may_be_named_before_it_is_registered(reversed_text):
    assert content_type_of("application/x-reversed") == "application/x-reversed"
    reversed_text()
    assert content_type_of("reversed") == "application/x-reversed"


def test_content_without_a_serializer_is_refused_by_its_type():
    with pytest.raises(DecodeError, match="no serializer here reads 'application/x-none'"):
        decode(b"", "application/x-none")
    with pytest.raises(ConfigError, match="no serializer for 'application/x-none'"):
        serialization.name_of("application/x-none")


@pytest.mark.parametrize("name", ["yaml", "msgpack"])
def test_a_missing_library_is_named_with_the_extra_to_install(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    advice = rf"not installed: pip install 'celeriac\[{name}\]'"
    for use in (content_type_of, lambda name: content_type_of(TYPES[name][0]), lambda name: encode(1, name)):
        with pytest.raises(ConfigError, match=advice):
            use(name)
    with pytest.raises(DecodeError, match=advice):
        decode(b"", *TYPES[name])


def test_what_others_register_writes_text_or_bytes_and_reads_bytes(reversed_text):
    reversed_text()
    assert encode("abc", "reversed") == Encoded("application/x-reversed", "utf-8", b"cba")
    assert again("äbc", "reversed") == "äbc"
    reversed_text(lambda text: text[::-1].encode())
    assert again("äbc", "reversed") == "äbc"


def test_text_is_written_in_the_character_set_that_was_registered(reversed_text):
    reversed_text(decoder=lambda raw: raw.decode("latin-1")[::-1], content_encoding="latin-1")
    assert encode("aé", "reversed").data == b"\xe9a"
    assert again("aé", "reversed") == "aé"


@pytest.mark.parametrize("encoding", ["punycode", "IDNA", "unicode-escape", "raw_unicode_escape"])
def test_what_is_no_character_set_is_not_read_as_one(encoding):
    with pytest.raises(DecodeError, match="is no character set"):
        decode(b"[]", "application/json", encoding)


def test_text_in_another_character_set_is_read():
    assert decode('["aé"]'.encode("utf-16"), "application/json", "UTF-16") == ["aé"]
    with pytest.raises(DecodeError, match="not json"):
        decode(b"[]", "application/json", "no-such-charset")


def test_a_plug_ins_error_is_ours_with_its_words(reversed_text):
    def fail(value):
        raise LookupError("out of order")

    reversed_text(fail, fail)
    with pytest.raises(EncodeError, match="reversed cannot write it: LookupError: out of order"):
        encode("abc", "reversed")
    with pytest.raises(DecodeError, match="not reversed: LookupError: out of order"):
        decode(b"", "application/x-reversed")


def test_a_serializer_may_only_read_or_only_write(reversed_text):
    reversed_text(encoder=None)
    with pytest.raises(ConfigError, match="'reversed' can only read"):
        encode("abc", "reversed")
    reversed_text(decoder=None)
    with pytest.raises(DecodeError, match="no serializer here reads"):
        decode(b"", "application/x-reversed")


def test_a_built_in_can_be_replaced(monkeypatch):
    for table in ("_by_name", "_by_type"):
        monkeypatch.setattr(registry, table, dict(getattr(registry, table)))
    serialization.register("json", lambda value: json.dumps([value]), json.loads, "application/json")
    assert again(5, "json") == [5]


def test_what_was_removed_is_unknown(reversed_text):
    reversed_text()
    serialization.unregister("reversed")
    with pytest.raises(ConfigError, match="no serializer 'reversed'"):
        encode("abc", "reversed")
    with pytest.raises(DecodeError):
        decode(b"", "application/x-reversed")
    reversed_text()


def test_only_what_runs_no_code_when_it_is_read_is_plain(reversed_text):
    reversed_text()
    plain = {name for name, kind in serialization.CONTENT_TYPES.items() if serialization.is_plain(kind)}
    assert plain == {"json", "yaml", "msgpack"}
    assert not serialization.is_plain("application/x-none")
