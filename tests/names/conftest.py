"""An application on a store in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from celeriac import Celery
from celeriac.app import current


@pytest.fixture(autouse=True)
def nothing_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks that a test shares with all applications are not shared with those of other tests."""
    monkeypatch.setattr(current, "_shared", [])


@pytest.fixture
def app() -> Iterator[Celery]:
    with Celery("names", broker=":memory:") as app:
        yield app
