"""What a peer has to say about itself to be measured.

To add one: its environment in `scripts/peers`, its tasks in `bench/tasks/<module>.py`, a `Peer` in `bench/peers/`.
What a tasks module offers is written down in `bench/driver.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["PROJECT", "Peer", "Store", "Worker"]

PROJECT = Path(__file__).resolve().parents[2]

# Given an empty folder: an empty store for one measurement, as the environment variables that lead to it.
Store = Callable[[Path], AbstractContextManager[Mapping[str, str]]]


@dataclass(frozen=True)
class Worker:
    """A worker's command line, whose program is in the environment's `bin`. `copies` of it are started."""

    command: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    copies: int = 1


@dataclass(frozen=True)
class Peer:
    """A task queue on a store, as measured."""

    name: str
    title: str
    settings: str
    """What a reader must know to repeat or doubt the figures; a footnote of the table."""
    guarantee: str
    """What becomes of a task whose worker is killed, with these settings."""
    environment: Path
    """Its virtual environment."""
    packages: tuple[str, ...]
    """Distributions whose versions are reported."""
    tasks: str
    """Its module in `bench/tasks/`."""
    store: Store
    rate: int
    """About how many no-op tasks a second it drains: the size of a measurement goes by it."""
    worker: Worker
    """For two tasks at a time that compute."""
    everyday: Worker | None = None
    """For four tasks at a time, on the queues q1 to q4 where it can serve several."""
    naps: Worker | None = None
    """For a thousand coroutines at a time; None for libraries that have no coroutines."""
    awaited: Worker | None = None
    """For calls of which each is waited for; None where that is `worker`."""
    together: bool = False
    """Whether its calls can be made by coroutines."""
    left_out: frozenset[str] = frozenset()
    """Measures that mean nothing for it."""

    @property
    def python(self) -> Path:
        return self.environment / "bin" / "python"

    def command(self, worker: Worker) -> list[str]:
        program, *arguments = worker.command
        return [str(self.environment / "bin" / program), *arguments]
