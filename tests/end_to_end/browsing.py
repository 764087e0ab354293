"""A real browser for tests: the system's Chromium under Playwright, and what every page must keep to in it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from tests.app.web.browser import Person

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
NARROWEST = 360
PATIENCE_MS = 15_000
TRAINING_MS = 120_000
EXPECTED = (
    "the server responded with a status of 4",
    "net::ERR_FAILED",
    "net::ERR_INCOMPLETE",
    "net::ERR_EMPTY",
    "net::ERR_CONNECTION",
    "net::ERR_SOCKET_NOT_CONNECTED",  # the same, where it was a kept connection that was used again
    "[object Event]",  # htmx's words for a stream of events that was cut
)  # answers and losses that tests ask for


def chromium() -> str | None:
    """The path of an installed browser, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


needs_browser = pytest.mark.skipif(
    chromium() is None and "IDIOLECT_REQUIRE_BROWSER" not in os.environ,  # .ci/run sets it: there, none is a failure
    reason="no browser: install one with `apt-get install -y chromium`",
)


@contextmanager
def launched() -> Iterator[Browser]:
    """A browser for as long as the block lasts."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def tab(browser: Browser, **options: Any) -> Iterator[Page]:
    """A fresh cookie jar with one page, which must end without a message on its console or a failed script."""
    context = browser.new_context(**{"viewport": DESKTOP, **options})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    complaints = complaints_of(page)
    yield page
    context.close()
    assert not complaints, f"the page complained: {complaints}"


def let_in(page: Page, person: Person, url: str) -> None:
    """Sign the person in, in the page's browser, by the session they have already."""
    cookie = person.browser.client.get_cookie("idiolect_session")
    assert cookie is not None
    page.context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": url}])


def complaints_of(page: Page) -> list[str]:
    """What the page has to complain about from now on and no test asked for: messages on its console, failed scripts,
    what its content security policy refused. The list grows."""
    complaints: list[str] = []

    def note(text: str) -> None:
        if not any(known in text for known in EXPECTED):
            complaints.append(text)

    page.on("console", lambda message: note(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: note(str(error)))
    return complaints


def scripted(page: Page) -> None:
    """Wait until the writing page's script runs. Who is faster is served too, but with whole drafts, on a new page."""
    expect(page.get_by_role("button", name="Rewrite the selection")).to_be_visible()


def overflow(page: Page) -> int:
    """How many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


def sign_up(page: Page, url: str, email: str = "ada@example.org", password: str = "plum jam on toast") -> None:
    """Through the front door, as a new person."""
    page.goto(url)
    page.get_by_role("main").get_by_role("link", name="Sign up").click()
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign up").click()
