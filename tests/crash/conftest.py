"""Fixtures of the crash suite: a store to attack, and a fleet on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("crash.fleet")

from crash.fleet import Fleet  # noqa: E402
from crash.scale import Chance  # noqa: E402
from crash.stores import opened  # noqa: E402
from support.project import Project  # noqa: E402


@pytest.fixture
def make_fleet(project: Project, tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    """`make_fleet("redis", worker_lease=1.0)`: a fleet on a new store of that kind."""
    with ExitStack() as stack:

        def make(kind: str, **settings: Any) -> Fleet:
            fleet = Fleet(project, stack.enter_context(opened(kind, tmp_path / "store")), **settings)
            stack.callback(fleet.app.close)
            return fleet

        (tmp_path / "store").mkdir()
        yield make


@pytest.fixture
def chance() -> Chance:
    """Chance with a printed seed."""
    return Chance()
