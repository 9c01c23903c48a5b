"""All curves, in the order of the page that shows them."""

from bench.growth.curve import Curve
from bench.growth.curves import delayed, draining, memory, producing

__all__ = ["CURVES"]

CURVES: tuple[Curve, ...] = (*draining.CURVES, *producing.CURVES, *delayed.CURVES, *memory.CURVES)
