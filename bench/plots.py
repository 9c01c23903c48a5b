"""A bar chart for each figure, the peers from best to worst."""

from __future__ import annotations

import re
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

from bench.peers import OURS

if TYPE_CHECKING:
    from bench.measures import Figure
    from bench.report import Run

__all__ = ["draw"]

_OURS, _LIMIT, _OTHERS = "#2f9e44", "#868e96", "#a5b4fc"


def draw(run: Run, folder: Path) -> list[Path]:
    """One SVG per figure that at least two peers have; the files."""
    import matplotlib as mpl

    mpl.use("svg")
    drawn = []
    for figure in run.figures:
        bars = {peer.name: run.of(figure, peer) for peer in run.peers if run.of(figure, peer)}
        if len(bars) > 1:
            file = folder / f"{re.sub(r'[^a-z0-9]+', '-', figure.name.lower())}.svg"
            _bars(figure, {peer.name: peer.title for peer in run.peers}, bars, file)
            drawn.append(file)
    return drawn


def _bars(figure: Figure, titles: dict[str, str], samples: dict[str, list[float]], file: Path) -> None:
    from matplotlib import pyplot

    medians = {name: statistics.median(values) for name, values in samples.items()}
    names = sorted(medians, key=medians.__getitem__, reverse=not figure.more_is_better)
    chart, axes = pyplot.subplots(figsize=(8, 0.7 + 0.38 * len(names)), layout="constrained")
    colours = [_LIMIT if name == "limit" else _OURS if name in OURS else _OTHERS for name in names]
    spread = [
        [medians[name] - min(samples[name]) for name in names],
        [max(samples[name]) - medians[name] for name in names],
    ]
    bars = axes.barh([titles[name] for name in names], [medians[name] for name in names], color=colours, xerr=spread)
    axes.bar_label(bars, labels=[_label(medians[name]) for name in names], padding=6)
    axes.margins(x=0.14)
    better = "more" if figure.more_is_better else "less"
    axes.set_title(f"{figure.title.replace('`', '')} ({figure.unit}; {better} is better)", loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    chart.savefig(file)
    pyplot.close(chart)


def _label(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
