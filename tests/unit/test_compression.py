import bz2
import lzma
import os
import sys
import zlib

import pytest

from celeriac import compression
from celeriac.compression import compress, content_type_of, decompress, names
from celeriac.exceptions import ConfigError, DecodeError, EncodeError

TYPES = {
    "application/x-gzip": ("gzip", "zlib"),
    "application/x-bz2": ("bzip2", "bz2", "bzip"),
    "application/x-lzma": ("lzma", "xz"),
    "application/x-brotli": ("brotli",),
    "application/zstd": ("zstd", "zstandard"),
}
NAMES = [(name, kind) for kind, named in TYPES.items() for name in (*named, kind)]


@pytest.mark.parametrize(
    ("content_type", "library"),
    [("application/x-gzip", zlib), ("application/x-bz2", bz2), ("application/x-lzma", lzma)],
)
def test_what_is_compressed_is_the_librarys_own_output(content_type, library):
    assert compress(b"a" * 1000, content_type) == (content_type, library.compress(b"a" * 1000))


@pytest.mark.parametrize(("name", "content_type"), NAMES)
def test_a_compression_is_known_by_its_names_and_its_content_type(name, content_type):
    assert content_type_of(name) == content_type
    written_as, data = compress(b"a" * 1000, name)
    assert written_as == content_type
    assert len(data) < 100
    assert decompress(data, content_type) == decompress(data, name) == b"a" * 1000


def test_all_names_are_listed():
    assert sorted(names()) == sorted(name for named in TYPES.values() for name in named)


@pytest.mark.parametrize("content_type", TYPES)
@pytest.mark.parametrize("data", [b"plain", b"\x78\x9c\x00"])
def test_what_is_not_compressed_is_refused_by_its_type(content_type, data):
    with pytest.raises(DecodeError, match=f"the body is not {content_type}"):
        decompress(data, content_type)


def test_what_was_compressed_a_thousandfold_is_read_whole():
    assert len(decompress(compress(bytes(10_000_000), "zstd")[1], "zstd")) == 10_000_000


@pytest.mark.parametrize("content_type", TYPES)
def test_what_would_fill_the_memory_is_refused(monkeypatch, content_type):
    data = compress(bytes(70_000_000), content_type)[1]
    monkeypatch.setattr(compression, "MOST_BYTES", 69_000_000)
    with pytest.raises(DecodeError, match=rf"of {content_type} would grow to more than 69,000,000"):
        decompress(data, content_type)


@pytest.mark.parametrize("content_type", ["application/x-bz2", "application/x-lzma", "application/zstd"])
def test_streams_in_a_row_are_read_as_one_and_bounded_as_one(monkeypatch, content_type):
    data = compress(b"a" * 1_000_000, content_type)[1] * 80
    assert decompress(data, content_type) == b"a" * 80_000_000
    monkeypatch.setattr(compression, "MOST_BYTES", 79_999_999)
    with pytest.raises(DecodeError, match="would grow to more than"):
        decompress(data, content_type)


@pytest.mark.parametrize("content_type", TYPES)
@pytest.mark.parametrize("left", [0, 1, -10, -1])
def test_a_part_of_what_was_compressed_is_refused(content_type, left):
    with pytest.raises(DecodeError, match=f"the body is not {content_type}"):
        decompress(compress(os.urandom(1000), content_type)[1][:left], content_type)


@pytest.mark.parametrize("content_type", TYPES)
def test_exactly_as_much_as_may_be_is_read(monkeypatch, content_type):
    monkeypatch.setattr(compression, "MOST_BYTES", 70_000_000)
    data = bytes(70_000_000)
    assert decompress(compress(data, content_type)[1], content_type) == data


def test_more_than_anybody_would_read_is_not_compressed(monkeypatch):
    monkeypatch.setattr(compression, "MOST_BYTES", 1000)
    with pytest.raises(
        EncodeError, match=r"1,001 bytes are more than may be compressed \(1,000\); store them elsewhere"
    ):
        compress(bytes(1001), "zlib")


def test_an_unknown_compression_is_refused_with_the_name_that_was_meant():
    with pytest.raises(ConfigError, match=r"no compression 'gzp'; did you mean 'gzip'\?"):
        compress(b"", "gzp")


def test_an_unknown_compression_is_refused_with_all_that_there_are():
    with pytest.raises(ConfigError, match=r"no compression 'snappy'; there are gzip, zlib, bzip2"):
        content_type_of("snappy")


def test_a_body_of_an_unknown_compression_is_a_decode_error():
    with pytest.raises(DecodeError, match=r"cannot be decompressed: there is no compression 'application/x-snappy'"):
        decompress(b"", "application/x-snappy")


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("brotli", "brotli"),
        pytest.param(
            "zstd",
            "backports.zstd",
            marks=pytest.mark.skipif(sys.version_info >= (3, 14), reason="in the standard library since 3.14"),
        ),
    ],
)
def test_a_missing_library_is_named_with_the_extra_to_install(monkeypatch, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    advice = rf"not installed: pip install 'celeriac\[{name}\]'"
    with pytest.raises(ConfigError, match=advice):
        content_type_of(name)
    with pytest.raises(ConfigError, match=advice):
        compress(b"", name)
    with pytest.raises(DecodeError, match=advice):
        decompress(b"", name)
