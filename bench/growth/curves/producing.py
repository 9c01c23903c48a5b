"""Many calls at once."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator

from bench.growth.curve import Curve, Panel, Row, Scale
from bench.growth.place import STORES, new_place
from bench.peers.base import PROJECT
from bench.processes import BenchError, clean_environment

__all__ = ["CURVES"]


def many(scale: Scale) -> Iterator[Row]:
    for store, count in itertools.product(STORES, scale.many):
        with new_place(store) as place:
            yield {"series": STORES[store], "x": count, **_in_a_process_of_its_own(place.url, count)}


def _in_a_process_of_its_own(url: str, count: int) -> dict[str, float]:
    """Since what a process held at most can be seen only once."""
    command = [sys.executable, "-m", "bench.growth.producer", str(count)]
    environment = clean_environment({"GROWTH_STORE": url})
    done = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        raise BenchError(f"bench.growth.producer failed:\n{done.stderr}")
    said: dict[str, float] = json.loads(done.stdout)
    return said


CURVES = (
    Curve(
        "many",
        "Calls at once",
        "calls in one delay_many",
        "one `delay_many` of so many calls in a process of its own, the handles kept",
        (
            Panel("calls/s", "calls per second"),
            Panel("producer µs", "producer: CPU for one call, µs"),
            Panel("peak MB", "the most memory meanwhile, MB"),
            Panel("bytes for a call", "of which for each call, bytes"),
        ),
        many,
    ),
)
