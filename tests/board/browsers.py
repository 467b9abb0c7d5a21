"""A real Chromium for tests of the board's page, and what each asserts: no error, nothing from elsewhere."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    expect,
    sync_playwright,
)

from tests.agents.clis import TYPESCRIPT
from tests.board.boards import RunningBoard

NAMES = ("chromium", "google-chrome", "chromium-browser")
CHROMIUM = os.environ.get("MAESTRO_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), "")
CHROMIUMS = [CHROMIUM] if CHROMIUM and Path(CHROMIUM).exists() else []
TYPESCRIPTS = [TYPESCRIPT.path] if TYPESCRIPT.path.exists() and shutil.which("node") else []
LEFT_OUT = [
    *([] if CHROMIUMS else ["the board's page (no chromium or google-chrome on PATH, nor in MAESTRO_CHROMIUM)"]),
    *([] if TYPESCRIPTS else [f"the page's types (TypeScript {TYPESCRIPT.version}: run tools/agent-clis; needs Node)"]),
]
WAIT_MS = 20_000
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@contextmanager
def chromium(path: str) -> Iterator[Browser]:
    """A browser. path: of its program."""
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS), chromium_sandbox=False)
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """A page of a board in a browser. At its end: no error was told, and nothing was asked of another host.

    excused: answers that a test wants, such as 404, of which the browser tells as an error; 0: none at all.
    """

    def __init__(self, browser: Browser, board: RunningBoard, path: str = "#/agents", **options: object) -> None:
        self.board = board
        self.excused: tuple[int, ...] = ()
        self.errors: list[str] = []
        self.asked: list[str] = []
        self.refused: list[int] = []
        self.context: BrowserContext = browser.new_context(**options)  # type: ignore[arg-type]
        self.enter(board)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._asks)
        self.page.on("response", self._answers)
        self.go(path)
        self.page.wait_for_selector("#namespace:not(:empty)")

    def enter(self, board: RunningBoard) -> None:
        """Take the cookie of a board."""
        name, _, value = board.cookie.partition("=")
        self.context.add_cookies([{"name": name, "value": value, "url": board.base}])

    def go(self, path: str) -> Page:
        """Go to another address of the page."""
        self.page.goto(f"{self.board.base}/{path}")
        return self.page

    def check(self) -> None:
        """Assert that no error was told, and nothing was asked of another host, since the last check."""
        told = [line for line in self.errors if not (self.excused and line.startswith("Failed to load resource"))]
        assert told == []
        assert set(self.refused) <= set(self.excused)
        assert {urlsplit(url).netloc for url in self.asked} <= {f"127.0.0.1:{self.board.port}"}
        self.errors, self.asked, self.refused, self.excused = [], [], [], ()

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _asks(self, request: Request) -> None:
        self.asked.append(request.url)

    def _answers(self, response: Response) -> None:
        if response.status >= 400:
            self.refused.append(response.status)

    def __enter__(self) -> Page:
        return self.page

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.context.close()
        if kind is None:
            self.check()
