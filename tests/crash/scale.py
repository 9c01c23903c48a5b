"""How large the crash suite is, and its chance.

`make test` runs the short version, `make crash` (CELERIAC_CRASH=long) the promised numbers, round after round. What is left
to chance comes from a seed that is printed; CELERIAC_SEED sets it again.
"""

from __future__ import annotations

import os
import random
from typing import TypeVar

import pytest

__all__ = ["LONG", "Chance", "patience", "sized"]

LONG = os.environ.get("CELERIAC_CRASH") == "long"

T = TypeVar("T")


def sized(short: T, long: T) -> T:
    """A number of the short version, or of the long one."""
    return long if LONG else short


def patience(short_s: float, long_s: float) -> pytest.MarkDecorator:
    """How long a test may take on a busy machine."""
    return pytest.mark.timeout(sized(short_s, long_s))


class Chance(random.Random):
    """Random numbers that can be had again: `seed` belongs into the test's figure."""

    def __init__(self) -> None:
        chosen = os.environ.get("CELERIAC_SEED")
        self.number = int(chosen) if chosen else random.randrange(1_000_000)
        super().__init__(self.number)
        print(f"CELERIAC_SEED={self.number}")
