"""A group of Celery's public names, and what has become of each in celeriac."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

__all__ = ["Section"]

Lists = Mapping[str, str]


@dataclass(frozen=True)
class Section:
    """Each list maps a test or a reason to names, with spaces between.

    `works`: the name of the test that shows it -> names. Tests are found by their names alone, since they say the promise
    and stay when files are split.
    `accepted`: taken without effect, why -> names. `planned`: not there yet, when -> names. `internal`: Celery has it
    without documenting it for users, what it is -> names.
    `has` tells whether celeriac has a name; None where a test of the section's own looks.
    `celery` is an expression for the names that the released Celery has.
    """

    title: str
    works: Lists
    accepted: Lists = field(default_factory=dict)
    planned: Lists = field(default_factory=dict)
    internal: Lists = field(default_factory=dict)
    has: Callable[[str], bool] | None = None
    celery: str = "[]"

    def names(self, *lists: str) -> list[str]:
        """The names in these lists, or in all."""
        wanted = lists or ("works", "accepted", "planned", "internal")
        return [name for kind in wanted for names in getattr(self, kind).values() for name in names.split()]
