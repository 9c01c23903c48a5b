"""A browser for all tests of a process, and the studio on either store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from support.redis_server import RedisServer
from support.studio import Studio, browser_here, open_page


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Started once: that takes the longest."""
    with browser_here() as browser:
        yield browser


@pytest.fixture(params=["sqlite", "redis"])
def studio(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Studio]:
    """The studio on either store. A module's PACE_S is the pause after each step of a picture."""
    pace_s = getattr(request.module, "PACE_S", 0.1)
    if request.param == "sqlite":
        with Studio(tmp_path, pace_s=pace_s) as studio:
            yield studio
    else:
        with RedisServer(tmp_path / "redis") as redis, Studio(tmp_path, redis.url(), pace_s) as studio:
            yield studio


@pytest.fixture
def page(chromium: Browser, studio: Studio) -> Iterator[Page]:
    """Its page, as on a desk by day."""
    with open_page(chromium, studio) as page:
        yield page
