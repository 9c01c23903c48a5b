"""What a curve is, and how much of everything one run measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

__all__ = ["FULL", "QUICK", "Curve", "Panel", "Row", "Scale"]

#: One point: `series` and `x`, and figures by name.
Row = Mapping[str, float | str]


@dataclass(frozen=True)
class Scale:
    """How far the curves go, and how many tasks one point is made of."""

    backlogs: tuple[int, ...]
    queues: tuple[int, ...]
    payloads: tuple[int, ...]
    children: tuple[int, ...]
    many: tuple[int, ...]
    tasks: int
    soak: int


FULL = Scale(
    backlogs=(1_000, 100_000, 1_000_000),
    queues=(1, 10, 100),
    payloads=(100, 10_000, 1_000_000),
    children=(1, 2, 3, 4),
    many=(1_000, 10_000, 100_000),
    tasks=30_000,
    soak=200_000,
)
QUICK = Scale(
    backlogs=(1_000, 10_000),
    queues=(1, 10),
    payloads=(100, 10_000),
    children=(1, 2),
    many=(1_000, 10_000),
    tasks=3_000,
    soak=5_000,
)


@dataclass(frozen=True)
class Panel:
    """One plot: a figure over x, a line for each series."""

    figure: str
    title: str
    log_y: bool = False
    spread: bool = False
    """Whether the rows have `lowest` and `highest` of it."""


@dataclass(frozen=True)
class Curve:
    """Figures over one thing that grows."""

    name: str
    title: str
    x: str
    """What grows, as the axis says it."""
    how: str
    panels: tuple[Panel, ...]
    take: Callable[[Scale], Iterator[Row]]
    log_x: bool = True
