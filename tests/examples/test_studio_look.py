"""How the studio looks and is used: by day and by night, on a phone, by keyboard, by a screen reader."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from support.studio import ROOT, Studio, holds, open_page

_IMAGES = ROOT / "docs" / "images"
_LARGEST_BYTES = 150_000


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Studio]:
    """A studio in full swing: pictures done, some at work, mails on their way, a failed one, two workers."""
    with Studio(tmp_path_factory.mktemp("look"), pace_s=0.3) as studio, open_page(chromium, studio) as page:
        for name in ("dunes", "aurora", "planet", "forest"):
            page.get_by_role("button", name=f"{name}.jpg", exact=True).click()
        page.click("#start")
        expect(page.locator(".picture.done")).to_have_count(4)
        page.click("#send")
        holds(page, "Number(retrying.textContent) > 0")
        yield studio


def violations(page: Page) -> list[str]:
    """What axe finds, in a line each."""
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html']}" for one in found for node in one["nodes"]]


def keep(page: Page, name: str) -> None:
    """The screenshot of the README, made where it is missing: delete it to have it made anew."""
    path = _IMAGES / name
    if not path.exists():
        shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        path.parent.mkdir(exist_ok=True)
        shot.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE).save(path, optimize=True)
    assert path.stat().st_size <= _LARGEST_BYTES


@pytest.mark.parametrize(
    ("name", "width", "scheme", "added"),
    [
        ("studio-light.png", 1280, "light", ("sea", "fractal")),
        ("studio-dark.png", 1280, "dark", ("lights", "plasma")),
        ("studio-phone.png", 360, "light", ("currents", "mountains")),
    ],
)
def test_axe_finds_nothing_and_nothing_sticks_out(
    chromium: Browser, busy: Studio, name: str, width: int, scheme: str, added: tuple[str, str]
) -> None:
    with open_page(chromium, busy, width, scheme) as page:
        for sample in added:
            page.get_by_role("button", name=f"{sample}.jpg", exact=True).click()
        holds(page, "document.querySelector('.picture.working progress')?.value >= 4")
        holds(page, "[...document.querySelectorAll('.picture.done img')].every((image) => image.complete)")
        keep(page, name)
        page.set_input_files("#file", files=[{"name": "letter.jpg", "mimeType": "image/jpeg", "buffer": b"Dear Sir"}])
        expect(page.locator("#problems")).to_contain_text("letter.jpg")
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.get_by_role("button", name="Sheet: planet.jpg").first.click()
        holds(page, "viewed.complete && viewed.naturalWidth")
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if width > 1000 and scheme == "light":
            keep(page, "studio-sheet.png")


def test_everything_is_reached_and_used_by_keyboard(chromium: Browser, tmp_path: Path) -> None:
    with Studio(tmp_path) as studio, open_page(chromium, studio) as page:
        focused = lambda: page.evaluate(  # noqa: E731
            "document.activeElement.ariaLabel || document.activeElement.querySelector?.('img')?.alt"
            " || document.activeElement.id || document.activeElement.textContent"
        )
        expect(page.get_by_role("button", name="Kill worker-1")).to_be_visible()
        reached = []
        for _ in range(17):
            page.keyboard.press("Tab")
            reached.append(focused())
            outline = "getComputedStyle(document.activeElement.closest('.drop') ?? document.activeElement).outlineStyle"
            assert page.evaluate(outline) == "solid", f"no visible focus: {reached}"
        assert reached[:3] == ["file", "all-samples", "aurora.jpg"]
        assert reached[-4:] == ["sunflower.png", "send", "Kill worker-1", "start"]
        with page.expect_file_chooser() as chooser:
            page.focus("#file")
            page.keyboard.press("Enter")
        chooser.value.set_files(ROOT / "examples" / "pictures" / "sea.jpg")
        expect(page.locator(".picture.done")).to_have_count(1)
        expect(page.locator("#said")).to_have_text("sea.jpg: done")
        sheet = page.get_by_role("button", name="Sheet: sea.jpg")
        sheet.focus()
        page.keyboard.press("Enter")
        expect(page.locator("#viewer")).to_be_visible()
        page.keyboard.press("Escape")
        expect(sheet).to_be_focused()


def test_the_page_shows_everything_again_after_a_reload(chromium: Browser, busy: Studio) -> None:
    with open_page(chromium, busy) as page:
        expect(page.locator(".picture.done", has_text="planet.jpg")).to_have_count(1)
        page.reload()
        expect(page.locator(".picture.done", has_text="planet.jpg")).to_have_count(1)
        expect(page.locator("#workers li")).to_have_count(2)
