"""Workers of the studio: one joins, one is killed in the middle of its work, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from support.redis_server import RedisServer
from support.studio import Studio, open_page

# Slow enough that the page sees each step before the worker is killed.
PACE_S = 0.3

# Every sentence that was ever shown below a picture.
_WATCH_STATES = """
window.told = new Set();
new MutationObserver(() => {
  for (const state of document.querySelectorAll(".picture .state")) told.add(state.textContent);
}).observe(document.getElementById("gallery"), { subtree: true, childList: true });
"""


def test_the_work_of_a_killed_worker_moves_over(page: Page, studio: Studio) -> None:
    page.evaluate(_WATCH_STATES)
    for name in ("aurora", "dunes", "forest", "sea"):
        page.get_by_role("button", name=f"{name}.jpg", exact=True).click()
    page.click("#start")
    second = page.locator("#workers li", has_text="worker-2")
    expect(second).to_be_visible()
    expect(page.locator(".picture.working .state", has_text="worker-1").first).to_be_visible()
    page.get_by_role("button", name="Kill worker-1", exact=True).click()
    expect(page.locator("#workers .dead")).to_have_text("worker-1")
    expect(page.locator(".picture.done")).to_have_count(4, timeout=60_000)
    expect(page.locator(".picture")).to_have_count(4)
    expect(page.locator("#workers li", has_text="worker-1")).to_have_count(0)
    expect(second).to_be_visible()
    assert page.evaluate("[...told].some((text) => text.endsWith('worker-2 took over from worker-1'))")


def test_work_waits_when_no_worker_is_left_and_goes_on_with_the_next(page: Page, studio: Studio) -> None:
    expect(page.locator("#workers li")).to_have_count(1)
    page.get_by_role("button", name="Kill worker-1", exact=True).click()
    expect(page.locator("#workers .dead")).to_have_text("worker-1")
    page.get_by_role("button", name="sea.jpg", exact=True).click()
    expect(page.locator(".picture.waiting")).to_have_count(1)
    page.click("#start")
    expect(page.locator(".picture.done")).to_have_count(1)


def test_a_store_that_is_away_is_told_and_found_again(chromium: Browser, tmp_path: Path) -> None:
    with (
        RedisServer(tmp_path / "redis") as redis,
        Studio(tmp_path, redis.url()) as studio,
        open_page(chromium, studio, trouble=True) as page,
    ):
        redis.stop()
        expect(page.locator("#store")).to_have_text("the store is away")
        page.click("#send")
        expect(page.locator("#problems")).to_contain_text("The store cannot be reached now; nothing was sent.")
        redis.start()
        expect(page.locator("#store")).to_have_text("on Redis")
        page.get_by_role("button", name="sea.jpg", exact=True).click()
        expect(page.locator(".picture.done")).to_have_count(1)
