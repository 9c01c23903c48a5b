"""The table and the JSON of a benchmark's run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from bench.measures import FULL, MEASURES
from bench.peers import PEERS
from bench.peers.base import Worker
from bench.report import Run, as_json, as_markdown

from bench import report


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    # The peers' environments are made by `make bench` only.
    monkeypatch.setattr(report, "versions", lambda peer: "package 1.0")
    return Run(
        peers=[PEERS["celery-redis"], PEERS["celeriac-redis"], PEERS["limit"]],
        measures=[MEASURES["drain"], MEASURES["latency"]],
        scale=FULL,
        rounds=3,
        samples={
            ("drain", "celery-redis"): [900.0, 1000.0, 1300.0],
            ("drain", "celeriac-redis"): [50_000.0, 40_000.0, 60_000.0],
        },
    )


def row(text: str, beginning: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {beginning}")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_figure_has_its_median_and_its_spread(run: Run) -> None:
    assert row(as_markdown(run), MEASURES["drain"].figures[0].title)[1:] == [
        "1,000 (900 – 1,300)",
        "50,000 (40,000 – 60,000)",
        "–",
    ]


def test_goals_are_told_where_both_sides_were_measured(run: Run) -> None:
    text = as_markdown(run)
    assert row(text, "draining, results stored, of Celery")[1:] == ["≥ 50 ×", "50.0 ×", "met"]
    assert "of the hand-written loop" not in text


def test_a_goal_that_is_missed_is_told_as_loudly(run: Run) -> None:
    run.samples["drain", "limit"] = [200_000.0]
    assert row(as_markdown(run), "draining, results stored, of the hand")[1:] == ["≥ 0.5 ×", "0.25 ×", "MISSED"]


def test_each_peer_is_told_with_its_versions_settings_and_guarantee(run: Run) -> None:
    text = as_markdown(run)
    for peer in run.peers:
        assert f"- {peer.title} (package 1.0): {peer.settings}. " in text
        assert peer.guarantee[1:] in text


def test_each_measure_is_told_as_it_was_made(run: Run) -> None:
    text = as_markdown(run)
    assert f"- latency: {MEASURES['latency'].how}".split("{")[0] in text
    assert "{" not in text


def test_the_json_keeps_all_samples_and_what_is_missing(run: Run) -> None:
    found = json.loads(as_json(run))["figures"]["drain"]["peers"]
    assert found["celery-redis"]["samples"] == [900.0, 1000.0, 1300.0]
    assert found["limit"] is None


def test_the_json_has_all_goals(run: Run) -> None:
    goals = {goal["what"]: goal for goal in json.loads(as_json(run))["goals"]}
    assert goals["draining, results stored, of Celery"]["met"] is True
    assert goals["draining, results stored, of the hand-written loop"]["met"] is None


def test_a_peers_programs_are_those_of_its_environment() -> None:
    peer = replace(PEERS["rq"], environment=Path("/environment"))
    assert peer.command(Worker(("rq", "worker"))) == ["/environment/bin/rq", "worker"]
