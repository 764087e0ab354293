"""Whole journeys by keyboard alone: Tab, Enter, Space, arrows and letters. The writer's is on the whole platform with a
tiny model, the administrator's on the web role."""

from collections.abc import Iterator

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page, expect

from tests.app.web.browser import PASSWORD, Person, join
from tests.app.web.training import begin
from tests.end_to_end.browsing import TRAINING_MS, needs_browser, scripted, tab
from tests.end_to_end.keyboard import Keyboard
from tests.factories import SAMPLE_TEXTS

pytestmark = [pytest.mark.browser, needs_browser]


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    with tab(chromium) as page:
        yield page


@pytest.mark.timeout(300)
def test_from_signing_up_to_a_draft_in_ones_text(platform: str, page: Page) -> None:
    keys = Keyboard(page)
    page.goto(platform)
    keys.open(page.get_by_role("main").get_by_role("link", name="Sign up"))
    keys.fill(page.get_by_label("E-mail address"), "ada@example.org")
    keys.fill(page.get_by_label("Password"), PASSWORD)
    keys.press("Enter")
    give_samples(page, keys)

    keys.open(page.get_by_role("button", name="Train this voice"))
    expect(page.get_by_role("heading", name="A new version is ready")).to_be_visible(timeout=TRAINING_MS)
    expect(page.locator("#announce")).to_contain_text("A new version is ready")
    keys.open(page.get_by_role("link", name="Write with this voice"))
    scripted(page)
    accept_a_draft(page, keys)


def give_samples(page: Page, keys: Keyboard) -> None:
    """Five pieces, pasted one by one; one of them is left out, and taken in again."""
    for text in SAMPLE_TEXTS:
        keys.reach(page.get_by_label("Paste something you wrote"))
        page.keyboard.insert_text(text)  # what Ctrl+V does
        keys.open(page.get_by_role("button", name="Add", exact=True))
        expect(page.get_by_role("status").filter(has_text="Kept 1 sample")).to_be_visible()
        expect(page.get_by_label("Paste something you wrote")).to_have_value("")
    tick = page.get_by_role("button", name="Use “The ferry was late")
    for pressed in ("false", "true"):
        keys.reach(tick)
        keys.press("Space")
        expect(tick).to_have_attribute("aria-pressed", pressed)
        expect(tick).to_be_focused()


def accept_a_draft(page: Page, keys: Keyboard) -> None:
    """With another length and strength, from a beginning of one's own."""
    text, strength = page.get_by_label("Your text"), page.get_by_label("Strength")
    keys.fill(text, "The ferry")
    keys.reach(strength)
    keys.press("ArrowRight", "ArrowRight")
    expect(strength).to_have_value("1.2")
    keys.reach(page.get_by_label("Length"))
    keys.press("ArrowUp")
    keys.open(page.get_by_role("button", name="Go on", exact=True).first)
    expect(page.locator("#write-status")).to_have_text("Done.", timeout=TRAINING_MS)
    mine = page.get_by_role("region", name="In your voice")
    expect(mine).to_contain_text("version 1, strength 1.2")
    draft = mine.locator(".output").text_content()
    assert draft
    keys.open(mine.get_by_role("button", name="Put into my text"))
    expect(text).to_be_focused()
    expect(text).not_to_have_value("The ferry")
    # the tiny model writes anything, and a field has its own way with ends of lines
    assert text.input_value().split() == f"The ferry{draft}".split()


def test_an_administrator_cancels_a_run_and_suspends_its_owner(app: Flask, url: str, ada: Person, page: Page) -> None:
    join(app, ada.storage, "chief@example.org", role="admin")
    run = begin(ada).run_id
    keys = Keyboard(page)
    page.goto(f"{url}/signin")
    keys.fill(page.get_by_label("E-mail address"), "chief@example.org")
    keys.fill(page.get_by_label("Password"), PASSWORD)
    keys.press("Enter")
    keys.open(page.get_by_role("link", name="Console"))
    keys.open(page.get_by_role("navigation", name="Console").get_by_role("link", name="Runs"))
    keys.open(page.get_by_role("link", name=run))
    keys.open(page.get_by_role("button", name="Cancel the run"))
    expect(page.get_by_text("Cancelling")).to_be_visible()
    keys.open(page.get_by_role("link", name="ada@example.org"))
    keys.open(page.get_by_role("button", name="Suspend"))
    expect(page.get_by_role("button", name="Let back in")).to_be_visible()
    keys.open(page.get_by_role("navigation", name="Console").get_by_role("link", name="Audit trail"))
    keys.reach(page.get_by_label("Action"))
    keys.type("user.suspended")  # a list is chosen from by its first letters
    keys.open(page.get_by_role("button", name="Filter"))
    expect(page.get_by_role("row")).to_have_count(2)
