"""The table and the JSON of a run."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bench.goals import judge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.goals import Outcome
    from bench.measures import Figure, Measure, Scale
    from bench.peers.base import Peer

__all__ = ["Run", "as_json", "as_markdown"]


@dataclass
class Run:
    """What was measured, and what came out: samples by figure and peer."""

    peers: Sequence[Peer]
    measures: Sequence[Measure]
    scale: Scale
    rounds: int
    samples: dict[tuple[str, str], list[float]]

    @property
    def figures(self) -> list[Figure]:
        return [figure for measure in self.measures for figure in measure.figures]

    def takers(self, measure: Measure) -> list[Peer]:
        """The peers of whom the measure says anything."""
        return [peer for peer in self.peers if measure.is_for(peer)]

    def of(self, figure: Figure, peer: Peer) -> list[float]:
        return self.samples.get((figure.name, peer.name), [])


def as_markdown(run: Run) -> str:
    """The figures, the goals, and what a reader must know to believe them."""
    table = [["", *(peer.title for peer in run.peers)]]
    table += [
        [f"{figure.title} ({figure.unit})", *(_spread(run.of(figure, peer)) for peer in run.peers)]
        for figure in run.figures
    ]
    rounds = "1 round" if run.rounds == 1 else f"medians of {run.rounds} rounds (lowest – highest), peers in turn"
    lines = [*_aligned(table), "", f"{rounds}; {_machine()}; {_today()}.", ""]
    goals = [outcome for outcome in judge(run.samples) if outcome.reached is not None]
    if goals:
        lines += [*_aligned([["goal", "to reach", "reached", ""], *map(_goal_row, goals)]), ""]
    lines += [f"- {peer.title} ({versions(peer)}): {peer.settings}. {_sentence(peer.guarantee)}" for peer in run.peers]
    lines += [f"- {measure.name}: {measure.how.format(**asdict(run.scale))}." for measure in run.measures]
    return "\n".join(lines) + "\n"


def _goal_row(outcome: Outcome) -> list[str]:
    goal = outcome.goal
    assert outcome.reached is not None
    sign = "≥" if goal.at_least else "≤"
    return [
        goal.what,
        f"{sign} {goal.goal:g} {goal.unit}",
        f"{_number(outcome.reached)} {goal.unit}",
        "met" if outcome.met else "MISSED",
    ]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def as_json(run: Run) -> str:
    figures: dict[str, Any] = {}
    for figure in run.figures:
        peers = {peer.name: _summary(run.of(figure, peer)) for peer in run.peers}
        figures[figure.name] = {"unit": figure.unit, "more_is_better": figure.more_is_better, "peers": peers}
    document = {
        "date": _today(),
        "machine": _machine(),
        "rounds": run.rounds,
        "scale": asdict(run.scale),
        "peers": {peer.name: {"versions": versions(peer), "settings": peer.settings} for peer in run.peers},
        "figures": figures,
        "goals": [
            {"what": one.goal.what, "goal": one.goal.goal, "reached": one.reached, "met": one.met}
            for one in judge(run.samples)
        ],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def versions(peer: Peer) -> str:
    code = "import importlib.metadata as m, sys; print(', '.join(f'{p} {m.version(p)}' for p in sys.argv[1:]))"
    command = [str(peer.python), "-c", code, *peer.packages]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()


def _summary(samples: list[float]) -> dict[str, object] | None:
    if not samples:
        return None
    return {"median": statistics.median(samples), "min": min(samples), "max": max(samples), "samples": samples}


def _spread(samples: list[float]) -> str:
    if not samples:
        return "–"
    middle = _number(statistics.median(samples))
    return middle if len(samples) == 1 else f"{middle} ({_number(min(samples))} – {_number(max(samples))})"


def _number(value: float) -> str:
    """As many digits as tell something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    lines = []
    for first, *rest in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _machine() -> str:
    return f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
