"""Numbers that are unique in the whole cluster: what a slot has counted, and the slot.

Leases are counted in microseconds since 1970 (lua/parts/tokens.lua). From 2026 on these and 14 bits for the slot fit
into the 63 bits that a token may have, until 2043.
"""

from __future__ import annotations

from celeriac.engines.redis.cluster.slots import SLOTS

__all__ = ["letter_number", "slot_and_letter", "slot_and_token", "token_number"]

_EPOCH_US = 1_767_225_600_000_000


def token_number(slot: int, token: int) -> int:
    return (token - _EPOCH_US) * SLOTS + slot


def slot_and_token(number: int) -> tuple[int, int]:
    token, slot = divmod(number, SLOTS)
    return slot, token + _EPOCH_US


def letter_number(slot: int, letter: int) -> int:
    return letter * SLOTS + slot


def slot_and_letter(number: int) -> tuple[int, int]:
    letter, slot = divmod(number, SLOTS)
    return slot, letter
