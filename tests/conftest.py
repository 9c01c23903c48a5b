"""Fixtures for tests that run the real command line, and the figures that tests print."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.gate import Gate
from support.project import Client, Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project."""
    return Project(tmp_path)


@pytest.fixture
def client(project: Project) -> Iterator[Client]:
    """A client of the project's store."""
    with project.client() as client:
        yield client


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Where tasks report and wait."""
    with Gate() as gate:
        yield gate


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Have a measured figure printed at the end of the test run, also when the test passes."""
    return lambda text: record_property("figure", text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    figures = [
        (report.nodeid.rpartition("::")[2], value)
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, value in report.user_properties
        if name == "figure"
    ]
    if figures:
        terminalreporter.section("figures")
        for test, value in sorted(figures):
            terminalreporter.line(f"{test}: {value}")
