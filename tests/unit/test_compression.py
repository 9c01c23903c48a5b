import bz2
import lzma
import zlib

import pytest

from celeriac.compression import decompress
from celeriac.exceptions import DecodeError


@pytest.mark.parametrize(
    ("content_type", "compress"),
    [("application/x-gzip", zlib.compress), ("application/x-bz2", bz2.compress), ("application/x-lzma", lzma.compress)],
)
def test_what_celery_compresses_is_read(content_type, compress):
    assert decompress(compress(b"a" * 1000), content_type) == b"a" * 1000


@pytest.mark.parametrize("content_type", ["application/x-gzip", "application/x-bz2", "application/x-lzma"])
@pytest.mark.parametrize("data", [b"plain", b"\x78\x9c\x00"])
def test_what_is_not_compressed_is_refused_by_its_type(content_type, data):
    with pytest.raises(DecodeError, match=f"the body is not {content_type}"):
        decompress(data, content_type)


def test_an_unknown_compression_is_refused_with_those_that_are_known():
    with pytest.raises(DecodeError, match=r"'application/zstd' is not known here; known are application/x-gzip"):
        decompress(b"", "application/zstd")
