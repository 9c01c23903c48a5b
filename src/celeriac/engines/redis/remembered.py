"""What a process remembers of its leases: the end of each one's field in the store, by its token (lua/parts/leases.lua).

Only so that the server need not look for it: who has forgotten, or never knew, names the beginning of the field.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Remembered"]

#: Far more than a child holds at once. What was lost with its owner stays here until there are so many.
_MOST = 20_000


class Remembered:
    """Tails by token. Thread-safe."""

    def __init__(self) -> None:
        self._tails: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._tails)

    def note(self, tokens: Iterable[int], tail: str) -> tuple[str, int, bool, int | None]:
        """These leases have this tail: queue, deliveries, whether begun, and the token before they were taken over."""
        if len(self._tails) > _MOST:
            self._tails = {}
        self._tails.update(dict.fromkeys(tokens, tail))
        _, deliveries, begun, previous, queue = tail.split(":", 4)
        return queue, int(deliveries), begun == "b", int(previous) if previous else None

    def field(self, child: int, token: int) -> str:
        """The field of a lease as far as it is known."""
        return f"{child}:{token}:{self._tails.get(token, '')}"

    def forget(self, token: int) -> None:
        """It is settled now."""
        self._tails.pop(token, None)

    def last_field(self, child: int, token: int) -> str:
        """The same of one that is settled now: it is forgotten."""
        return f"{child}:{token}:{self._tails.pop(token, '')}"

    def begun(self, token: int) -> None:
        """The run of this lease is marked as begun."""
        tail = self._tails.get(token)
        if tail is not None:
            step, deliveries, _, rest = tail.split(":", 3)
            self._tails[token] = f"{step}:{deliveries}:b:{rest}"
