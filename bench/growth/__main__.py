"""`python -m bench.growth`: measure how costs grow, and draw it.

Figures are kept in `bench/results/growth/`, a file for each curve; tables and plots are made of all that is there.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from bench.growth.curve import FULL, QUICK, Row
from bench.growth.curves import CURVES
from bench.growth.plots import draw
from bench.growth.report import as_markdown, load, save
from bench.processes import BenchError

RESULTS = Path(__file__).resolve().parents[1] / "results" / "growth"
IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"


def main() -> int:
    options = _options()
    scale = QUICK if options.quick else FULL
    failures = []
    for curve in CURVES if not options.draw else ():
        if options.only and curve.name not in options.only:
            continue
        started, rows = time.monotonic(), list[Row]()
        try:
            for row in curve.take(scale):
                print(f"{curve.name}: {_said(row)}", file=sys.stderr, flush=True)
                rows.append(row)
        except BenchError as error:
            failures.append(f"{curve.name}: {error}")
        save(options.results, curve, scale, rows)
        print(f"{curve.name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    _write(options.results, options.images)
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


def _write(results: Path, images: Path) -> None:
    images.mkdir(parents=True, exist_ok=True)
    tables = []
    for curve in CURVES:
        found = load(results, curve)
        if found is not None and found["rows"]:
            draw(curve, found["rows"], images / f"growth-{curve.name}.svg")
            tables.append(as_markdown(curve, found))
    (results / "growth.md").write_text("\n".join(tables))
    print("\n".join(tables))


def _said(row: Row) -> str:
    return ", ".join(
        f"{name} {value:,.1f}" if isinstance(value, float) else f"{name} {value}" for name, value in row.items()
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description="How costs grow, with plots.")
    parser.add_argument(
        "--only", action="append", choices=[curve.name for curve in CURVES], help="again for more curves"
    )
    parser.add_argument("--quick", action="store_true", help="short curves, to try it out")
    parser.add_argument("--draw", action="store_true", help="measure nothing, draw what was measured")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the figures are kept")
    parser.add_argument("--images", type=Path, help=f"where the plots go ({IMAGES} for those of the documentation)")
    options = parser.parse_args()
    options.images = options.images or options.results
    return options


if __name__ == "__main__":
    sys.exit(main())
