"""What a setting's value may be. A check returns the value as it is kept, or raises `ValueError` saying what it takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

from celeriac.exceptions import ConfigError

__all__ = [
    "Check",
    "anything",
    "boolean",
    "choice",
    "concurrency",
    "integer",
    "level",
    "mapping",
    "names",
    "number",
    "optional",
    "pool",
    "protocol",
    "retry_policy",
    "some_names",
    "text",
    "time_zone",
    "tls",
    "url",
]


class Check:
    """A function that reads a value, and the words for what it takes. Its `ValueError`s may have words of their own."""

    __slots__ = ("_read", "words")

    def __init__(self, words: str, read: Callable[[Any], Any]) -> None:
        self.words = words
        self._read = read

    def __call__(self, value: Any) -> Any:
        try:
            return self._read(value)
        except (TypeError, ValueError) as error:
            raise ValueError(str(error) or self.words) from None


def _check(words: str) -> Callable[[Callable[[Any], Any]], Check]:
    return lambda read: Check(words, read)


def optional(check: Check) -> Check:
    """The same, or None."""
    return Check(f"{check.words}, or None", lambda value: None if value is None else check(value))


def number(least: float) -> Check:
    """A number; where it is a time a timedelta will do."""

    def read(value: Any) -> float:
        if isinstance(value, timedelta):
            value = value.total_seconds()
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < math.inf:
            raise ValueError
        return value

    return Check(f"a number of at least {least:g} (or a timedelta, where it is a time)", read)


def integer(least: int, most: int | None = None) -> Check:
    """A whole number."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError
        if most is not None and value > most:
            raise ValueError
        return value

    return Check(f"a whole number of at least {least}" + ("" if most is None else f" and at most {most}"), read)


def choice(*allowed: str) -> Check:
    """One of these words."""

    def read(value: Any) -> str:
        if value not in allowed:
            raise ValueError
        return str(value)

    return Check(f"one of {', '.join(allowed)}", read)


#: For what celeriac only hands on, or does not use.
anything = Check("anything", lambda value: value)


@_check("True or False")
def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


@_check("a non-empty string")
def text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


@_check("one URL as text (celeriac does not switch between several)")
def url(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


@_check("a dictionary with string keys")
def mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError
    return dict(value)


@_check("a list of names")
def names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValueError
    return tuple(text(name) for name in value)


@_check("a list of names, at least one")
def some_names(value: Any) -> tuple[str, ...]:
    listed: tuple[str, ...] = names(value)
    if not listed:
        raise ValueError
    return listed


@_check("the name of a time zone, such as UTC or Europe/Vienna")
def time_zone(value: Any) -> str:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    name = value.key if isinstance(value, ZoneInfo) else value
    try:
        ZoneInfo(text(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError from None
    return str(name)


@_check("one of DEBUG, INFO, WARNING, ERROR, CRITICAL")
def level(value: Any) -> str:
    name = value.upper() if isinstance(value, str) else value
    if name not in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
        raise ValueError
    return str(name)


@_check('a whole number of at least 1, or "auto"')
def concurrency(value: Any) -> int | None:
    # Here both mean one for each processor.
    return None if isinstance(value, str) and value.strip().lower() == "auto" else integer(1)(value)


@_check("one of prefork, solo, threads, asyncio")
def pool(value: Any) -> str:
    if value in ("gevent", "eventlet"):
        raise ValueError(f"threads, or asyncio for async def tasks (celeriac has no {value} pool)")
    if value == "processes":
        return "prefork"
    if value not in ("prefork", "solo", "threads", "asyncio"):
        raise ValueError
    return str(value)


@_check("2 (older Celery's protocol 1 is read, and not written)")
def protocol(value: Any) -> int:
    if isinstance(value, bool) or value != 2:
        raise ValueError
    return 2


@_check("a dictionary of max_retries, interval_start, interval_step and interval_max")
def retry_policy(value: Any) -> dict[str, Any]:
    from celeriac.retries import RetryPolicy

    policy: dict[str, Any] = mapping(value)
    try:
        RetryPolicy.from_celery(policy)
    except ConfigError as error:
        raise ValueError(f"a dictionary that says how to retry ({error})") from None
    return policy


@_check("True, or a dictionary of ssl_ca_certs, ssl_certfile, ssl_keyfile, ssl_cert_reqs and ssl_check_hostname")
def tls(value: Any) -> Any:
    if value is not None and not isinstance(value, bool):
        mapping(value)
    return value
