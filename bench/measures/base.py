"""What a measure is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.peers.base import Peer
    from bench.session import Session

__all__ = ["FULL", "QUICK", "Figure", "Measure", "Scale"]


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    calls: int
    many_calls: int
    drain_s: float
    least_tasks: int
    most_tasks: int
    everyday_tasks: int
    round_trips: int
    imports: int
    naps: int
    queued: int
    writers_s: float

    def tasks(self, rate: int) -> int:
        """How many no-op tasks make a drain of about `drain_s`."""
        return min(max(int(rate * self.drain_s), self.least_tasks), self.most_tasks)


FULL = Scale(
    calls=3_000,
    many_calls=10_000,
    drain_s=2.5,
    least_tasks=600,
    most_tasks=250_000,
    everyday_tasks=8_000,
    round_trips=200,
    imports=7,
    naps=10_000,
    queued=10_000,
    writers_s=3.0,
)
QUICK = Scale(
    calls=300,
    many_calls=2_000,
    drain_s=0.5,
    least_tasks=300,
    most_tasks=30_000,
    everyday_tasks=1_200,
    round_trips=30,
    imports=3,
    naps=2_000,
    queued=1_000,
    writers_s=0.5,
)


@dataclass(frozen=True)
class Figure:
    """One row of the table."""

    name: str
    title: str
    unit: str
    more_is_better: bool = False


@dataclass(frozen=True)
class Measure:
    """Figures that are taken together."""

    name: str
    figures: tuple[Figure, ...]
    take: Callable[[Session, Scale], dict[str, float]]
    how: str
    #: Of which peers it can be taken, besides those that leave it out themselves.
    fits: Callable[[Peer], bool] = lambda _: True

    def is_for(self, peer: Peer) -> bool:
        """Whether it says anything about this peer."""
        return self.name not in peer.left_out and self.fits(peer)
