"""Which slot a key belongs to, and which master serves which slot. Pure: text and replies in, values out."""

from __future__ import annotations

import binascii
import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

__all__ = ["SLOTS", "Endpoint", "SlotMap", "key_slot", "sibling_tag", "slot_tag"]

SLOTS = 16384

Endpoint = tuple[str, int]


def key_slot(key: str) -> int:
    """The slot of a key: CRC16 of the text in its first braces, or of all of it where there is none."""
    return binascii.crc_hqx(_hashed(key).encode(), 0) % SLOTS


def _hashed(key: str) -> str:
    _, opened, rest = key.partition("{")
    tag, closed, _ = rest.partition("}")
    return tag if opened and closed and tag else key


@lru_cache(maxsize=1024)
def slot_tag(slot: int) -> str:
    """The smallest number whose text lies in the slot: names keys that all queues of one slot share."""
    return next(text for text in map(str, itertools.count()) if binascii.crc_hqx(text.encode(), 0) % SLOTS == slot)


def sibling_tag(key: str) -> str:
    """What a key must have in its first braces to lie in the slot of `key`."""
    hashed = _hashed(key)
    return hashed if "}" not in hashed else slot_tag(key_slot(key))


class SlotMap(msgspec.Struct, frozen=True):
    """The masters by slot, and the replicas of each master."""

    owners: tuple[Endpoint | None, ...] = (None,) * SLOTS
    replicas: dict[Endpoint, frozenset[Endpoint]] | None = None

    @classmethod
    def from_reply(cls, reply: Sequence[Any], asked: Endpoint) -> SlotMap:
        """Read the answer to CLUSTER SLOTS. A node that does not know its own name is the one that was asked."""
        owners: list[Endpoint | None] = [None] * SLOTS
        replicas: dict[Endpoint, frozenset[Endpoint]] = {}
        for first, last, master, *others in reply:
            owner = _endpoint(master, asked)
            owners[first : last + 1] = [owner] * (last + 1 - first)
            replicas[owner] = frozenset(_endpoint(other, asked) for other in others)
        return cls(tuple(owners), replicas)

    @property
    def masters(self) -> list[Endpoint]:
        return list(self.replicas or ())

    @property
    def endpoints(self) -> list[Endpoint]:
        """Every node, masters first."""
        return [*self.masters, *(replica for replicas in (self.replicas or {}).values() for replica in replicas)]

    def moved(self, slot: int, owner: Endpoint) -> SlotMap:
        """The same with one slot elsewhere."""
        replicas = dict(self.replicas or {})
        replicas.setdefault(owner, frozenset())
        return SlotMap((*self.owners[:slot], owner, *self.owners[slot + 1 :]), replicas)


def _endpoint(node: Sequence[Any], asked: Endpoint) -> Endpoint:
    host = node[0].decode() if isinstance(node[0], bytes) else ""
    return (host if host not in ("", "?") else asked[0], int(node[1]))
