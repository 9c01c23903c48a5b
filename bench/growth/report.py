"""What a run has found: kept as JSON for each curve, so that curves can be measured one by one, and written as tables."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.growth.curve import Curve, Row, Scale

__all__ = ["as_markdown", "load", "save"]


def save(folder: Path, curve: Curve, scale: Scale, rows: Sequence[Row]) -> None:
    """Keep the rows of a curve."""
    found = {
        "curve": curve.name,
        "title": curve.title,
        "how": curve.how.format(**asdict(scale)),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}",
        "rows": list(rows),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{curve.name}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def load(folder: Path, curve: Curve) -> dict[str, Any] | None:
    """What was kept of a curve."""
    try:
        found: dict[str, Any] = json.loads((folder / f"{curve.name}.json").read_text())
    except FileNotFoundError:
        return None
    return found


def as_markdown(curve: Curve, found: dict[str, Any]) -> str:
    """A table of a curve, a row for each series, a column for each x and figure."""
    rows = found["rows"]
    columns = list(dict.fromkeys(row["x"] for row in rows))
    lines = [f"### {curve.title}", "", f"{found['how']}. {found['machine']}, {found['date']}."]
    for panel in curve.panels:
        of_panel = [row for row in rows if row.get(panel.figure)]
        if not of_panel:
            continue
        header = [f"{panel.title} · {curve.x}:", *(f"{x:,.0f}" for x in columns)]
        lines += ["", _line(header), _line(["---", *("---:" for _ in columns)])]
        for name in dict.fromkeys(row["series"] for row in of_panel):
            at = {row["x"]: row[panel.figure] for row in of_panel if row["series"] == name}
            lines.append(_line([name, *(_number(at[x]) if x in at else "" for x in columns)]))
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: float) -> str:
    """As many digits as tell something."""
    if value >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
