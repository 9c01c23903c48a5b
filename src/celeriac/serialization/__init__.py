"""Python values as bytes and back: json, pickle, yaml, msgpack and what plug-ins register."""

from celeriac.serialization.json import JSON_TYPE, dumps, loads, register_type
from celeriac.serialization.registry import (
    CONTENT_TYPES,
    PICKLE_TYPE,
    Encoded,
    content_type_of,
    decode,
    encode,
    is_plain,
    name_of,
    names,
    register,
    unencodable,
    unregister,
)

__all__ = [
    "CONTENT_TYPES",
    "JSON_TYPE",
    "PICKLE_TYPE",
    "Encoded",
    "content_type_of",
    "decode",
    "dumps",
    "encode",
    "is_plain",
    "loads",
    "name_of",
    "names",
    "register",
    "register_type",
    "unencodable",
    "unregister",
]
