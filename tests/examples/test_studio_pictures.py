"""Pictures in the studio: dropped on the page, worked on, shown; broken ones; cancelled ones."""

from __future__ import annotations

import base64
import io
import re
import zlib
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from support.studio import ROOT, Studio, holds

PICTURES = ROOT / "examples" / "pictures"

# Every value that a bar ever has, by the picture's name.
_WATCH_BARS = """
window.bars = {};
new MutationObserver(() => {
  for (const card of document.querySelectorAll(".picture")) {
    const name = card.querySelector(".title").textContent;
    (window.bars[name] ??= new Set()).add(card.querySelector("progress").value);
  }
}).observe(document.getElementById("gallery"), { subtree: true, childList: true, attributes: true });
"""
_DROP = """(files) => {
  const dropped = new DataTransfer();
  for (const { name, data, size } of files) {
    const bytes = size ? new Uint8Array(size) : Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
    dropped.items.add(new File([bytes], name));
  }
  const zone = document.getElementById("drop");
  for (const type of ["dragover", "drop"]) {
    zone.dispatchEvent(new DragEvent(type, { dataTransfer: dropped, bubbles: true, cancelable: true }));
  }
}"""


def drop(page: Page, **files: bytes | int) -> None:
    """Drop files on the page, as from a file manager; a number stands for so many zeros."""
    page.evaluate(_DROP, [{"name": name, **_content(data)} for name, data in files.items()])


def _content(data: bytes | int) -> dict[str, object]:
    return {"size": data} if isinstance(data, int) else {"data": base64.b64encode(data).decode()}


def samples(*names: str) -> dict[str, bytes]:
    return {name: (PICTURES / name).read_bytes() for name in names}


def test_dropped_pictures_are_worked_on_and_shown(page: Page, studio: Studio) -> None:
    page.evaluate(_WATCH_BARS)
    names = ["forest.jpg", "sea.jpg", "sunflower.png"]
    drop(page, **samples(*names))
    expect(page.locator(".picture.done")).to_have_count(3)
    seen = page.evaluate("Object.fromEntries(Object.entries(bars).map(([name, values]) => [name, [...values]]))")
    for name in names:
        between = [value for value in seen[name] if 0 < value < 10]
        assert len(between) >= 2, f"the bar of {name} did not move: {seen}"
        assert seen[name] == sorted(seen[name])
    edges = "[...document.querySelectorAll('.frame img')].map((one) => Math.max(one.naturalWidth, one.naturalHeight))"
    holds(page, f"{edges}.every((edge) => edge === 480)")


def test_each_size_and_the_contact_sheet_can_be_looked_at(page: Page) -> None:
    drop(page, **samples("forest.jpg"))
    for label, size in {"96 pixels": (64, 96), "960 pixels": (640, 960), "Sheet": (1232, 572)}.items():
        page.get_by_role("button", name=f"{label}: forest.jpg", exact=True).click()
        holds(page, "viewed.complete && viewed.naturalWidth")
        assert tuple(page.evaluate("[viewed.naturalWidth, viewed.naturalHeight]")) == size
        page.keyboard.press("Escape")
        expect(page.locator("#viewer")).to_be_hidden()


def _bomb() -> bytes:
    """A PNG of a few bytes that says it has four thousand million pixels."""
    header = (65_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    chunks = b"".join(
        len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
        for kind, body in [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize("studio", ["sqlite"], indirect=True)
def test_what_is_no_picture_or_too_large_says_so(page: Page) -> None:
    drop(
        page,
        **{
            "letter.jpg": b"Dear Sir or Madam",
            "bomb.png": _bomb(),
            "huge.jpg": 15_000_001,
            "cut.jpg": (PICTURES / "sea.jpg").read_bytes()[:60_000],
        },
    )
    problems = page.locator("#problems")
    expect(problems).to_contain_text("letter.jpg: This is no JPEG, PNG or WEBP picture.")
    expect(problems).to_contain_text("bomb.png: More than 40 million pixels are too many.")
    expect(problems).to_contain_text("huge.jpg: More than 15 MB is too much.")
    # Only who reads all of it finds that its end is missing: that is a task's work.
    expect(page.locator(".picture.failed")).to_contain_text("The file is damaged")
    expect(page.locator("#queues")).to_contain_text(re.compile(r"pictures\s*0\s*0\s*0"))  # no dead letter for that


@pytest.mark.parametrize("studio", ["sqlite"], indirect=True)
def test_a_name_is_shown_as_it_is_written(page: Page) -> None:
    small = io.BytesIO()
    Image.new("RGB", (30, 20), "teal").save(small, "PNG")
    name = "<img src=x onerror=alert(1)>../../etc.png"
    drop(page, **{name: small.getvalue()})
    expect(page.locator(".picture.done .title")).to_have_text(name)
    expect(page.locator(".title img")).to_have_count(0)


def test_a_picture_can_be_cancelled_while_it_is_worked_on_and_while_it_waits(page: Page, studio: Studio) -> None:
    drop(page, **samples("aurora.jpg", "city.png", "dunes.jpg", "planet.jpg"))
    expect(page.locator(".picture")).to_have_count(4)
    working = page.locator(".picture.working").first.locator(".title")
    running = working.inner_text()
    waiting = page.locator(".picture.waiting .title").first.inner_text()
    for name in (running, waiting):
        page.get_by_role("button", name=f"Cancel {name}", exact=True).click()
    for name in (running, waiting):
        card = page.locator(".picture", has_text=name)
        expect(card).to_have_class("picture cancelled")
        page.get_by_role("button", name=f"Remove {name}", exact=True).click()
        expect(card).to_have_count(0)
    expect(page.locator(".picture.done")).to_have_count(2)


def test_the_studio_is_made_of_less_than_300_lines() -> None:
    files = [ROOT / "examples" / "studio" / f"{name}.py" for name in ("app", "tasks", "studio", "web")]
    lines = [line for path in files for line in Path(path).read_text().splitlines() if line.strip()]
    assert len(lines) < 300
