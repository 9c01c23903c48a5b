"""What a peer has to say about itself to be measured.

To add one: its environment in `scripts/peers`, its tasks in `bench/tasks/<module>.py`, a `Peer` in `bench/peers/`.
What a tasks module offers is written down in `bench/driver.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PROJECT", "Peer", "Store"]

PROJECT = Path(__file__).resolve().parents[2]

# Given an empty folder: an empty store for one measurement, as the environment variables that lead to it.
Store = Callable[[Path], AbstractContextManager[Mapping[str, str]]]


@dataclass(frozen=True)
class Peer:
    """A task queue on a store, as measured."""

    name: str
    title: str
    settings: str
    """What a reader must know to repeat or doubt the figures; a footnote of the table."""
    environment: Path
    """Its virtual environment."""
    packages: tuple[str, ...]
    """Distributions whose versions are reported."""
    tasks: str
    """Its module in `bench/tasks/`."""
    worker: tuple[str, ...]
    """The worker's command line; the program is in the environment's `bin`."""
    store: Store

    @property
    def python(self) -> Path:
        return self.environment / "bin" / "python"

    @property
    def worker_command(self) -> list[str]:
        program, *arguments = self.worker
        return [str(self.environment / "bin" / program), *arguments]
