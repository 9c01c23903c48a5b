"""Run the benchmarks: `python -m bench [--quick] [--rounds N] [--only NAME] [--peer NAME] [--json FILE]`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.measures import FULL, MEASURES, QUICK
from bench.peers import PEERS
from bench.peers.base import PROJECT
from bench.plots import draw
from bench.processes import BenchError
from bench.report import Run, as_json, as_markdown
from bench.session import new_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.peers.base import Peer

RESULTS = Path(__file__).resolve().parent / "results"


def main() -> int:
    options = parse(sys.argv[1:])
    # Quick when nothing is missing, and says itself what is.
    if subprocess.run([PROJECT / "scripts" / "peers", "all"], check=False).returncode:
        return 1
    run = Run(
        peers=[PEERS[name] for name in options.peer or PEERS],
        measures=[MEASURES[name] for name in options.only or MEASURES],
        scale=QUICK if options.quick else FULL,
        rounds=options.rounds or (1 if options.quick else 3),
        samples=defaultdict(list),
    )
    failures = take(run)
    RESULTS.mkdir(exist_ok=True)
    files = {RESULTS / "latest.md": as_markdown(run), RESULTS / "latest.json": as_json(run)}
    if options.json:
        files[options.json] = as_json(run)
    for file, text in files.items():
        file.write_text(text, encoding="utf-8")
    drawn = draw(run, RESULTS)
    print(as_markdown(run))
    print(f"written to {RESULTS}: latest.md, latest.json and {len(drawn)} plots")
    for failure in failures:
        print(f"FAILED {failure}", file=sys.stderr)
    return 1 if failures else 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="celeriac beside its peers, in the same run.")
    parser.add_argument("--rounds", type=int, metavar="N", help="samples of each figure (default 3; 1 with --quick)")
    parser.add_argument("--quick", action="store_true", help="small counts: to see that it works, not for figures")
    parser.add_argument("--only", action="append", choices=MEASURES, help="just this measure (may be repeated)")
    parser.add_argument("--peer", action="append", choices=PEERS, help="just this peer (may be repeated)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the JSON here too")
    options = parser.parse_args(arguments)
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def in_turn(peers: Sequence[Peer], number: int) -> list[Peer]:
    """Another order in each round, so that nobody always comes after the same."""
    start = number * max(1, len(peers) // 3) % len(peers)
    return [*peers[start:], *peers[:start]]


def take(run: Run) -> list[str]:
    """All samples, the peers in turn, so that what slows the machine for a while slows all of them; gives what failed."""
    failures = []
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=run.rounds * sum(len(run.takers(measure)) for measure in run.measures))
        for number in range(1, run.rounds + 1):
            for measure in run.measures:
                for peer in in_turn(run.takers(measure), number):
                    step = f"round {number} of {run.rounds}: {measure.name}, {peer.title}"
                    progress.update(bar, description=step)
                    if not console.is_terminal:
                        print(step, file=sys.stderr, flush=True)
                    try:
                        with new_session(peer, measure.name) as session:
                            for figure, value in measure.take(session, run.scale).items():
                                run.samples[figure, peer.name].append(value)
                    except BenchError as error:
                        failures.append(f"{step}: {error}")
                    progress.advance(bar)
    return failures


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
