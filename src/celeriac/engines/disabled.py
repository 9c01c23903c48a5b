"""No result store, on purpose: `result_backend="disabled"`. Whoever asks for a result is told so."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from typing import NoReturn

from celeriac.engines.base import Follower, Record
from celeriac.exceptions import ResultError

__all__ = ["DisabledResults"]


class DisabledResults:
    """Drops what it is given; raises `ResultError` when asked."""

    def store(self, records: Sequence[Record]) -> None:
        """Keep nothing."""

    def get(self, task_ids: Collection[str]) -> dict[str, bytes]:
        _refuse()

    def watch(self, task_id: str, notify: Callable[[], None]) -> AbstractContextManager[None]:
        _refuse()

    def follow(self, task_id: str) -> AbstractContextManager[Follower]:
        _refuse()

    def forget(self, task_ids: Collection[str]) -> None:
        """There is nothing."""

    def discard(self, task_id: str, body: bytes) -> None:
        """There is nothing."""

    def describe(self) -> str:
        return "disabled"

    def sizes(self) -> dict[str, int]:
        """Nothing is kept."""
        return {}

    def close(self) -> None:
        """Nothing is open."""


def _refuse() -> NoReturn:
    raise ResultError(
        "this application keeps no results (result_backend is 'disabled'); name a store in result_backend, or remove the "
        "setting to keep them in the broker's own"
    )
