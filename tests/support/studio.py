"""The studio of the examples: its real processes, and a browser that looks at it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from support.processes import alive, tree_of
from support.redis_server import free_port
from support.waiting import PATIENCE_S, until
from support.worker import WorkerProcess

__all__ = ["ROOT", "Studio", "browser_here", "holds", "open_page"]

ROOT = Path(__file__).parents[2]

expect.set_options(timeout=PATIENCE_S * 1000)


class Studio(WorkerProcess):
    """`with Studio(folder) as studio:` it is open, with one worker and without pictures. Ends with the block."""

    def __init__(
        self,
        folder: Path,
        store: str = "",
        pace_s: float = 0.1,
        *,
        empty: bool = True,
        port: int | None = None,
        wait: bool = True,
    ) -> None:
        self.home = folder / "studio"
        self.port = port or free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._wait = wait
        environment = {
            **os.environ,
            "STUDIO_HOME": str(self.home),
            "STUDIO_PORT": str(self.port),
            "STUDIO_PACE_S": str(pace_s),
            **({"STUDIO_STORE": store} if store else {}),
        }
        super().__init__([sys.executable, "-m", "examples.studio", *["--empty"] * empty], ROOT, environment)

    def __enter__(self) -> Self:
        super().__enter__()
        if self._wait:
            self.wait_for("The studio is open")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Its workers have sessions of their own: killed without a word it would leave them behind.
        everyone = tree_of(self.pid)
        try:
            if alive(self.pid):
                self.close()
        finally:
            for pid in filter(alive, everyone):
                os.kill(pid, signal.SIGKILL)
            super().__exit__(kind, None, None)
            # Seen when the test fails.
            for log in sorted(self.home.glob("*.log")):
                print(f"----- {log.name}\n{log.read_text()[-4000:]}-----")
            print(f"----- studio\n{self.log}-----")

    def close(self) -> int:
        """Press Ctrl-C; the exit status."""
        return self.stop(signal.SIGINT)

    def drawn(self) -> dict[str, Any]:
        """What its page shows now."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request("GET", "/events")
            line = connection.getresponse().readline()
            return dict(json.loads(line.removeprefix(b"data: ")))
        finally:
            connection.close()

    def request(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, str]:
        """Status and text of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body, headers)  # type: ignore[arg-type]
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        finally:
            connection.close()


@contextmanager
def browser_here() -> Iterator[Browser]:
    """A headless Chromium: Debian's, or another one that is installed."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert program is not None, "chromium is missing: run scripts/peers"
    with sync_playwright() as playwright:
        sandbox = [] if os.geteuid() else ["--no-sandbox"]  # root has none
        browser = playwright.chromium.launch(executable_path=program, args=sandbox)
        yield browser
        browser.close()


@contextmanager
def open_page(
    browser: Browser, studio: Studio, width: int = 1280, scheme: str = "light", *, trouble: bool = False
) -> Iterator[Page]:
    """The studio's page. What the browser complains of (errors, what the policy forbids) fails the test, but for trouble."""
    context: BrowserContext = browser.new_context(
        viewport={"width": width, "height": 860},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    context.set_default_timeout(PATIENCE_S * 1000)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto(studio.address)
    until(lambda: "SQLite" in page.inner_text("#store") or "Redis" in page.inner_text("#store"), "the page has news")
    try:
        yield page
        refused = [text for text in complaints if "status of 4" not in text]  # that a file was refused is no error
        assert trouble or refused == []
    finally:
        context.close()


def holds(page: Page, expression: str) -> None:
    """Wait until this is true on the page. (Its policy forbids what Playwright's `wait_for_function` does.)"""
    until(lambda: page.evaluate(expression), expression, every_s=0.05)
