"""What is measured: each measure makes one sample of its figures in a fresh session."""

from __future__ import annotations

from bench.measures import calling, draining, processes, storing, waiting
from bench.measures.base import FULL, QUICK, Figure, Measure, Scale

__all__ = ["FULL", "MEASURES", "QUICK", "Figure", "Measure", "Scale"]

_ALL = (
    *draining.MEASURES,
    *calling.MEASURES,
    *waiting.MEASURES,
    *processes.MEASURES,
    *storing.MEASURES,
)
MEASURES = {measure.name: measure for measure in _ALL}
