"""The curves as pictures: one SVG for each, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.growth.curve import Curve, Panel, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw"]

#: In the middle between black and white, so that it shows on both.
_INK = "#7d8590"
_COLOURS = ("#e4572e", "#2f81f7", "#2da44e", "#bf8700", "#a371f7", "#db61a2")
_PANEL_INCHES = (3.6, 2.8)
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: small files, the reader's own font
    "svg.hashsalt": "celeriac",  # the same figures give the same file
    "font.family": "sans-serif",
    "font.size": 8,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _INK,
    "grid.alpha": 0.25,
}


def draw(curve: Curve, rows: Sequence[Row], path: Path) -> None:
    """Draw a curve. Every axis of a cost begins at zero, so that what looks flat is flat."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_SETTINGS):
        width, height = _PANEL_INCHES
        panels = [panel for panel in curve.panels if any(panel.figure in row for row in rows)]
        figure = Figure(figsize=(width * len(panels), height), layout="constrained")
        figure.patch.set_alpha(0)
        series = list(dict.fromkeys(str(row["series"]) for row in rows))
        for panel, axes in zip(panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True):
            for name, colour in zip(series, _cycle(len(series)), strict=True):
                _draw_line(axes, panel, name, colour, [row for row in rows if row["series"] == name])
            _finish(axes, curve, panel)
        handles: dict[str, Any] = {}
        for axes in figure.axes:
            handles.update({str(name): handle for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)})
        figure.legend(handles.values(), handles, loc="outside lower center", ncols=min(3, len(handles)), frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    # Trailing blanks and a missing last line end are none of matplotlib's concern, but of those who keep the file.
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")


def _cycle(count: int) -> list[str]:
    return [_COLOURS[number % len(_COLOURS)] for number in range(count)]


def _draw_line(axes: Axes, panel: Panel, name: str, colour: str, rows: Sequence[Row]) -> None:
    shown = [row for row in rows if row.get(panel.figure)]  # a store without a process of its own uses nothing
    if not shown:
        return
    x, y = ([float(row[key]) for row in shown] for key in ("x", panel.figure))
    axes.plot(x, y, "o-", color=colour, label=name, markersize=3.5, linewidth=1.4)
    if panel.spread and all("lowest" in row for row in shown):
        lowest, highest = ([float(row[key]) for row in shown] for key in ("lowest", "highest"))
        axes.fill_between(x, lowest, highest, color=colour, alpha=0.12, linewidth=0)


def _finish(axes: Axes, curve: Curve, panel: Panel) -> None:
    axes.patch.set_alpha(0)
    axes.set_title(panel.title, fontsize=8)
    axes.set_xlabel(curve.x)
    if curve.log_x:
        axes.set_xscale("log")
        axes.minorticks_off()
    else:
        axes.locator_params(axis="x", nbins=4, integer=True)
    if panel.log_y:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0, top=1.05 * axes.get_ylim()[1])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:g}")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
