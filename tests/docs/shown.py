"""Comparing what a page shows with what is printed: times, process ids and the like differ from run to run."""

from __future__ import annotations

import re
import socket

__all__ = ["Ids", "comes_in_order", "same"]

_UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_VARIES = (
    (_UUID, "ID"),
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d([.,]\d+)?)?(\+00:00)?"), "TIME"),
    (re.compile(r"\b\d+(\.\d+)?(e-\d+)?s\b"), "DURATION"),
    (re.compile(r"\b\d+ s\b"), "AGE"),
    (re.compile(r"PoolWorker-\d+"), "PoolWorker"),
    (re.compile(r"\b\d{3,}\b"), "NUMBER"),
    (re.compile(r"[ \t]+"), " "),
)


class Ids:
    """Which task id of this run stands for which one of the page."""

    def __init__(self) -> None:
        self._real: dict[str, str] = {}

    def learn(self, shown: str, printed: str) -> None:
        """Ids are paired in their order."""
        for known, real in zip(_UUID.findall(shown), _UUID.findall(printed), strict=False):
            self._real.setdefault(known, real)

    def real(self, text: str) -> str:
        """The page's ids replaced by those of this run."""
        return _UUID.sub(lambda match: self._real.get(match[0], match[0]), text)


def same(shown: str, printed: str) -> bool:
    """Whether this is what the page shows."""
    return re.fullmatch(_pattern(shown), _plain(printed), re.DOTALL) is not None


def comes_in_order(shown: str, log: str) -> bool:
    """Whether the shown lines are among the log's, in their order."""
    lines = iter(_plain(log).splitlines())
    return all(any(re.fullmatch(_pattern(line), one) for one in lines) for line in shown.splitlines() if line.strip())


def _plain(text: str) -> str:
    text = text.replace(socket.gethostname(), "myhost").replace("127.0.0.1", "localhost")
    for varying, name in _VARIES:
        text = varying.sub(name, text)
    return "\n".join(line.strip() for line in text.strip().splitlines())


def _pattern(shown: str) -> str:
    return ".*".join(re.escape(part) for part in _plain(shown).split("..."))
