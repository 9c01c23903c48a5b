"""Every example of the README and of the documentation does what is said there."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.blocks import projects
from docs.walk import Walk

_ROOT = Path(__file__).parents[2]
_PAGES = [_ROOT / "README.md", *sorted((_ROOT / "docs").glob("*.md"))]

#: Page -> why its blocks are not run; each of them is a decision.
_NOT_RUN = {
    "README.md": ["tested by themselves", "installs from the internet"],
    "first-steps.md": ["installs from the internet", "installs from the internet"],
    "redis-cluster.md": ["configures the servers", "done by the test of the cluster's engine"],
}


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.stem)
def test_examples(page: Path, tmp_path: Path) -> None:
    for number, blocks in enumerate(projects(page)):
        with Walk(blocks, tmp_path / str(number)) as walk:
            walk.go()


def test_the_list_of_what_is_not_run_is_complete() -> None:
    unrun = {
        page.name: [block.detail for blocks in projects(page) for block in blocks if block.kind == "not run"]
        for page in _PAGES
    }
    assert {page: reasons for page, reasons in unrun.items() if reasons} == _NOT_RUN
