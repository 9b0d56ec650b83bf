"""A headless browser for the tests of pages: Debian's chromium (`apt install chromium`) and playwright, else they are skipped."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path("/usr/bin/chromium")
WAIT = 60_000  # milliseconds that a page has for what a test waits for


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The program. Of the session: what is missing is told before the fixtures of a module begin their work."""
    if not PROGRAM.exists():
        pytest.skip(f"no browser at {PROGRAM}")
    pytest.importorskip("playwright", reason="playwright is not installed")
    return PROGRAM


@pytest.fixture(scope="module")
def browser(chromium: Path) -> Iterator:
    """Of a module: as long as it runs, this thread has an event loop, and tests of other modules run their own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Everything is drawn by the processor, WebGL too: pages look the same with and without a graphics card.
        arguments = ["--disable-gpu", "--enable-unsafe-swiftshader"]
        started = playwright.chromium.launch(executable_path=str(chromium), args=arguments)
        yield started
        started.close()


@pytest.fixture(scope="module")
def new_page(browser) -> Callable:
    """Makes empty pages, each in a context of its own. `faults` of a page are what its console tells, errors that nobody caught and
    requests that failed, but for those with a word of `known`; `asked` are the addresses of all requests."""

    def made(size: dict[str, int], *, known: tuple[str, ...] = (), **options: Any) -> Any:
        page = browser.new_context(viewport=size, **options).new_page()
        page.set_default_timeout(WAIT)
        page.faults, page.asked = [], []

        def fault(text: str) -> None:
            if not any(word in text for word in known):
                page.faults.append(text)

        page.on("console", lambda said: fault(said.text))
        page.on("pageerror", lambda error: fault(str(error)))
        page.on("requestfailed", lambda request: fault(f"{request.url}: {request.failure}"))
        page.on("request", lambda request: page.asked.append(request.url))
        return page

    return made
