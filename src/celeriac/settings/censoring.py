"""Values as they may be printed: without passwords and keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["MASK", "censored", "shown"]

MASK = "********"

# Text, which `re` compiles and keeps when it is first used: compiling is no part of `import celeriac`.
_SECRET = r"(?i)(?<!routing_)key(?!prefix|space|file)|passw|secret|token|signature|credential|auth"
#: Settings that only sound like it: the names of a file and of a class.
_OPEN = {"security_key", "cassandra_auth_provider"}
#: Up to the last @, since passwords with a bare / or @ in them are a common mistake.
_URL_PASSWORD = r"(://[^:/?#\s@]*:)[^\s'\"]*(?=@)"
_NAMED = r"(?i)((?:passw\w*|secret|token|accountkey|signature|sig)=)[^&;\s'\"]+"


def censored(name: str, value: Any) -> Any:
    """The value of that name with what is secret replaced: all of it where the name says so, else passwords in URLs."""
    if value is None or isinstance(value, bool):
        return value
    if re.search(_SECRET, name) and name not in _OPEN:
        return MASK
    if isinstance(value, str):
        return _without_passwords(value)
    if isinstance(value, Mapping):
        return {key: censored(str(key), item) for key, item in value.items()}
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(censored("", item) for item in value)
    return value


def shown(name: str, value: Any) -> str:
    """The value as a line of text, censored."""
    value = censored(name, value)
    return MASK if value == MASK else _without_passwords(repr(value))


def _without_passwords(text: str) -> str:
    return re.sub(_NAMED, rf"\1{MASK}", re.sub(_URL_PASSWORD, rf"\1{MASK}", text))
