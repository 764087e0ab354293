"""The writing page in a real browser, with a small server in the API's place: streams, drafts, blind trials, what is
kept when a connection is lost, and the page without JavaScript."""

import json
import threading
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from flask import Flask
from playwright.sync_api import Browser, Locator, Page, expect

from storage import trials, voices, web_sessions
from storage.models import Voice
from storage.store import Storage
from tests.app.web.browser import PASSWORD, TEXT, Person, join
from tests.app.web.training import publish
from tests.app.web.upstream import Upstream
from tests.end_to_end.browsing import NARROWEST, let_in, needs_browser, overflow, tab
from tests.end_to_end.keyboard import Keyboard
from tests.end_to_end.wire import wired

pytestmark = [pytest.mark.browser, needs_browser]
SAID = "Dear all, hello."


@pytest.fixture
def ada(app: Flask, storage: Storage) -> Person:
    """With two versions, the second in use."""
    person = join(app, storage, "ada@example.org")
    for _ in range(2):
        publish(person)
    return person


@pytest.fixture
def page(url: str, ada: Person, chromium: Browser) -> Iterator[Page]:
    """The writing page of a browser in which Ada is signed in."""
    with tab(chromium, base_url=url) as page:
        let_in(page, ada, url)
        page.goto(f"{ada.url}/write")
        yield page


def text(page: Page) -> Locator:
    return page.get_by_label("Your text")


def go_on(page: Page, beginning: str = "To whom it concerns: ") -> None:
    text(page).fill(beginning)
    page.get_by_role("button", name="Go on", exact=True).first.click()


def column(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name)


def done(page: Page) -> None:
    expect(page.locator("#write-status")).to_have_text("Done.")


def select(page: Page, start: int, end: int) -> None:
    text(page).evaluate(f"area => {{ area.focus(); area.setSelectionRange({start}, {end}); }}")


def asked(upstream: Upstream) -> list[Any]:
    return [json.loads(seen.body) for seen in upstream.seen]


def test_both_columns_stream_and_say_who_wrote_them(page: Page) -> None:
    go_on(page)
    for name in ("Base model", "In your voice"):
        expect(column(page, name).locator(".output")).to_have_text(SAID)
        expect(column(page, name).locator(".lead")).to_have_text("To whom it concerns:")
    expect(column(page, "In your voice")).to_contain_text("Made with your voice “My voice”, version 3.")
    done(page)


def test_the_stop_button_hangs_up_and_what_came_stays(page: Page, upstream: Upstream) -> None:
    upstream.endless = True
    go_on(page)
    expect(column(page, "In your voice")).to_contain_text("on and on")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#write-status")).to_have_text("Stopped.")
    assert upstream.hung_up.wait(5)
    expect(column(page, "In your voice")).to_contain_text("on and on")
    expect(page.get_by_role("button", name="Go on", exact=True).first).to_be_enabled()


def test_an_untrained_voice_writes_nothing_as_mine(
    chromium: Browser, app: Flask, storage: Storage, url: str, upstream: Upstream
) -> None:
    new = join(app, storage, "new@example.org")
    with tab(chromium, base_url=url) as page:
        let_in(page, new, url)
        page.goto(f"{new.url}/write")
        go_on(page)
        expect(column(page, "Base model")).to_contain_text("hello.")
        expect(column(page, "In your voice")).to_contain_text("never shown as yours")
        done(page)
    assert [body["model"] for body in asked(upstream)] == ["idiolect-base"]


def test_a_connection_lost_before_anything_came_keeps_the_text(page: Page) -> None:
    page.route("**/write/stream", lambda route: route.abort())
    go_on(page)
    expect(page.get_by_role("alert").filter(has_text="lost before anything came")).to_have_count(2)
    expect(page.locator("#write-status")).to_have_text("Nothing was written.")
    expect(text(page)).to_have_value("To whom it concerns: ")
    page.unroute("**/write/stream")
    column(page, "In your voice").get_by_role("button", name="Try again").click()
    expect(column(page, "In your voice").locator(".output")).to_have_text(SAID)


def test_what_came_before_a_stream_broke_stays_and_is_gone_on_with(page: Page, upstream: Upstream) -> None:
    upstream.breaks = True
    go_on(page)
    mine = column(page, "In your voice")
    for one in (mine, column(page, "Base model")):  # both have asked, and broken off
        expect(one.get_by_role("alert").filter(has_text="What came is kept.")).to_be_visible()
        expect(one.locator(".output")).to_have_text("Dear")
    upstream.breaks = False
    upstream.seen.clear()
    mine.get_by_role("button", name="Go on from here").click()
    expect(mine.locator(".output")).to_have_text(f"Dear {SAID}")
    expect(mine.get_by_text("What came is kept.")).to_be_hidden()
    (body,) = asked(upstream)
    assert body["prompt"] == "To whom it concerns: Dear"
    assert column(page, "Base model").locator(".output").inner_text().strip() == "Dear"


def test_a_connection_lost_and_restored_in_mid_stream(
    chromium: Browser, ada: Person, url: str, upstream: Upstream
) -> None:
    upstream.read = threading.Semaphore(0)
    with wired(url) as wire, tab(chromium, base_url=wire.url) as page:
        let_in(page, ada, wire.url)
        page.goto(f"{ada.url}/write")
        go_on(page)
        mine = column(page, "In your voice")
        expect(mine.locator(".output")).to_have_text("Dear")
        wire.cut()
        lost = mine.get_by_role("alert").filter(has_text="The connection was lost here. What came is kept.")
        expect(lost).to_be_visible()
        mine.get_by_role("button", name="Go on from here").click()  # too early
        expect(mine.locator(".output")).to_have_text("Dear")
        expect(lost).to_be_visible()
        wire.mend()
        upstream.read = None
        mine.get_by_role("button", name="Go on from here").click()
        expect(mine.locator(".output")).to_have_text(f"Dear {SAID}")
        expect(text(page)).to_have_value("To whom it concerns: ")


def test_a_draft_goes_into_the_text_at_the_cursor_and_out_again(page: Page) -> None:
    text(page).fill("First. Last.")
    select(page, 7, 7)
    page.get_by_role("button", name="Go on", exact=True).first.click()
    done(page)
    mine = column(page, "In your voice")
    mine.get_by_role("button", name="Put into my text").click()
    expect(text(page)).to_have_value(f"First. {SAID}Last.")
    expect(text(page)).to_be_focused()
    mine.get_by_role("button", name="Take it out again").click()
    expect(text(page)).to_have_value("First. Last.")
    expect(page.locator("input[name='accepted']")).to_have_count(0)


def test_another_draft_takes_the_place_of_the_one_before(page: Page, upstream: Upstream) -> None:
    page.get_by_label("Drafts").select_option("2")
    go_on(page, "First. ")
    done(page)
    assert [body["n"] for body in asked(upstream)] == [2, 2]
    drafts = column(page, "In your voice").get_by_role("article")
    expect(drafts).to_have_count(2)
    for number in (0, 1):
        drafts.nth(number).get_by_role("button", name="Put into my text").click()
        expect(text(page)).to_have_value(f"First. {SAID}")
    drafts.nth(0).get_by_role("button", name="Dismiss").click()
    expect(drafts).to_have_count(1)


def test_an_edited_draft_goes_in_as_it_was_edited(page: Page) -> None:
    go_on(page, "First. ")
    done(page)
    mine = column(page, "In your voice")
    mine.get_by_role("button", name="Edit").click()
    mine.get_by_label("The draft, to be edited").fill("Something else.")
    mine.get_by_role("button", name="Put into my text").click()
    expect(text(page)).to_have_value("First. Something else.")
    assert page.locator("input[name='accepted']").input_value() == SAID  # as the model wrote it


def test_a_selection_is_rewritten_and_the_difference_is_shown(page: Page, upstream: Upstream) -> None:
    text(page).fill("It began: Dear nobody, hello. And ended.")
    select(page, 10, 29)
    page.get_by_role("button", name="Rewrite the selection").click()
    done(page)
    mine = column(page, "In your voice")
    expect(mine.locator("del")).to_have_text("nobody,")
    expect(mine.locator("ins")).to_have_text("all,")
    assert asked(upstream)[0]["prompt"] == "It began:"
    mine.get_by_role("button", name="Put it in place").click()
    expect(text(page)).to_have_value(f"It began: {SAID} And ended.")


def test_what_is_missing_is_said_before_anything_is_asked_and_the_drafts_stay(page: Page, upstream: Upstream) -> None:
    said = page.locator("#write-status")
    page.get_by_role("button", name="Go on", exact=True).first.click()
    expect(said).to_have_text("Write a few words to begin with.")
    go_on(page)
    done(page)
    asked_so_far = len(upstream.seen)
    page.get_by_role("button", name="Rewrite the selection").click()
    expect(said).to_have_text("Select the words in your text that should be written anew.")
    select(page, 0, 2)
    page.get_by_role("button", name="Rewrite the selection").click()
    expect(said).to_contain_text("select something further on")
    text(page).evaluate("area => area.setSelectionRange(0, 0)")
    page.get_by_role("button", name="Go on", exact=True).first.click()
    expect(said).to_contain_text("put it behind the words to go on from")
    for name in ("Base model", "In your voice"):
        expect(column(page, name).locator(".output")).to_have_text(SAID)
        expect(column(page, name).locator(".problem")).to_be_empty()
    assert len(upstream.seen) == asked_so_far


def test_blind_nothing_tells_who_is_who_until_the_choice(page: Page, ada: Person, storage: Storage) -> None:
    page.get_by_label("Blind").check()
    go_on(page)
    expect(column(page, "The first").locator(".output")).to_have_text(SAID)
    expect(column(page, "The second").locator(".output")).to_have_text(SAID)
    shown = page.locator("#columns").inner_html().lower()
    for name in ("base model", "your voice", "version", "idiolect-base"):
        assert name not in page.locator("#columns").inner_text().lower()
        assert "made with" not in shown
    page.get_by_role("button", name="The first").click()
    expect(page.locator("#choice-said")).to_contain_text("Noted. The first was")
    expect(column(page, "Version 2")).to_be_visible()
    expect(column(page, "Base model")).to_be_visible()
    expect(page.get_by_role("button", name="No difference")).to_be_hidden()
    with storage.database.reading() as session:
        (tally,) = trials.tallies(session, ada.user.id, ada.voice.id, 2)
    assert (tally.version + tally.other, tally.neither) == (1, 0)
    first_is_mine = page.locator("#first-title").inner_text() == "Version 2"
    assert tally.version == int(first_is_mine)


def test_another_version_or_nothing_can_stand_beside(page: Page, ada: Person, upstream: Upstream) -> None:
    page.get_by_label("Beside it").select_option("Version 1")
    go_on(page)
    expect(column(page, "Version 1").locator(".output")).to_have_text(SAID)
    assert f"{ada.voice.id}@1" in [body["model"] for body in asked(upstream)]
    page.get_by_label("Beside it").select_option("Nothing")
    upstream.seen.clear()
    go_on(page)
    done(page)
    assert [body["model"] for body in asked(upstream)] == [ada.voice.id]


def test_only_ones_own_text_is_kept_and_only_when_asked(page: Page, ada: Person) -> None:
    before = ada.num_samples()
    go_on(page, "It is: ")
    done(page)
    column(page, "In your voice").get_by_role("button", name="Put into my text").click()
    page.get_by_role("button", name="Keep as a sample").click()
    expect(page.get_by_role("alert").filter(has_text="Not kept")).to_contain_text("3 stand as the model wrote them")
    expect(text(page)).to_have_value(f"It is: {SAID}")
    assert ada.num_samples() == before
    text(page).fill(f"{TEXT} {SAID}")
    page.get_by_role("button", name="Keep as a sample").click()
    expect(page.get_by_role("status").filter(has_text="Kept as a sample")).to_contain_text("20 of them yours")
    assert ada.num_samples() == before + 1


def test_a_signed_out_person_is_told_and_keeps_the_text(page: Page) -> None:
    page.context.clear_cookies(name="idiolect_session")
    go_on(page)
    expect(page.get_by_role("alert").filter(has_text="You were signed out").first).to_be_visible()
    expect(text(page)).to_have_value("To whom it concerns: ")


def sign_in_elsewhere(page: Page, person: Person) -> None:
    """In another tab of the same browser, where nobody is signed in any more, or somebody else."""
    other = page.context.new_page()
    other.goto("/")
    if (leave := other.get_by_role("button", name="Sign out")).is_visible():
        leave.click()
    other.goto("/signin")
    other.get_by_label("E-mail address").fill(person.user.email)
    other.get_by_label("Password").fill(PASSWORD)
    other.get_by_role("main").get_by_role("button", name="Sign in").click()
    expect(other.get_by_role("button", name="Sign out")).to_be_visible()
    other.close()


def keep(page: Page) -> None:
    page.get_by_role("button", name="Keep as a sample").click()


def said_of_keeping(page: Page, role: Literal["alert", "status"]) -> Locator:
    return page.locator("#keep-said").get_by_role(role)


def test_whoever_signs_in_again_in_another_tab_goes_on_where_they_were(
    page: Page, ada: Person, storage: Storage
) -> None:
    before = ada.num_samples()
    text(page).fill(TEXT)
    with storage.database.session() as session:
        web_sessions.end_all(session, ada.user.id)
    keep(page)
    expect(said_of_keeping(page, "alert")).to_contain_text("You were signed out")
    go_on(page, TEXT)
    expect(column(page, "Base model").get_by_role("alert")).to_contain_text("You were signed out")
    sign_in_elsewhere(page, ada)
    go_on(page, TEXT)
    done(page)
    keep(page)
    expect(said_of_keeping(page, "status")).to_contain_text("Kept as a sample")
    expect(text(page)).to_have_value(TEXT)
    assert ada.num_samples() == before + 1


def test_two_sign_ins_later_a_text_is_still_kept_at_the_first_press(page: Page, ada: Person) -> None:
    text(page).fill(TEXT)
    for _ in range(2):
        sign_in_elsewhere(page, ada)
    keep(page)
    expect(said_of_keeping(page, "status")).to_contain_text("Kept as a sample")


def test_a_page_does_nothing_for_whoever_signed_in_after_its_reader(
    page: Page, app: Flask, ada: Person, storage: Storage, upstream: Upstream
) -> None:
    bob = join(app, storage, "bob@example.org")
    kept = [person.num_samples() for person in (ada, bob)]
    text(page).fill(TEXT)
    sign_in_elsewhere(page, bob)
    keep(page)
    expect(said_of_keeping(page, "alert")).to_contain_text("Somebody else has signed in here")
    go_on(page, TEXT)
    expect(column(page, "In your voice").get_by_role("alert")).to_contain_text("Somebody else has signed in here")
    expect(text(page)).to_have_value(TEXT)
    assert [person.num_samples() for person in (ada, bob)] == kept
    assert upstream.seen == []
    sign_in_elsewhere(page, ada)
    keep(page)
    expect(said_of_keeping(page, "status")).to_contain_text("Kept as a sample")
    expect(text(page)).to_have_value(TEXT)


def test_by_keyboard_alone_from_the_text_to_the_draft_and_back(page: Page) -> None:
    text(page).focus()
    page.keyboard.type("First. ")
    page.keyboard.press("Control+Enter")
    done(page)
    accept = column(page, "In your voice").get_by_role("button", name="Put into my text")
    for _ in range(40):
        page.keyboard.press("Tab")
        if accept.evaluate("button => button === document.activeElement"):
            break
    page.keyboard.press("Enter")
    expect(text(page)).to_have_value(f"First. {SAID}")
    expect(text(page)).to_be_focused()


@pytest.fixture
def reports(ada: Person, storage: Storage) -> Voice:
    """Ada's second voice, untrained."""
    with storage.database.session() as session:
        return voices.create_voice(session, ada.user.id, "Reports")


def test_looking_through_the_voices_goes_nowhere_until_one_is_asked_for(
    page: Page, ada: Person, reports: Voice
) -> None:
    page.reload()
    text(page).fill("Half a letter.")
    keys = Keyboard(page)
    keys.reach(page.get_by_label("Voice", exact=True))
    before = page.url
    keys.press("ArrowUp", "ArrowDown")
    expect(page.get_by_label("Voice", exact=True).locator("option:checked")).to_have_text("Reports")
    expect(page.get_by_label("Voice", exact=True)).to_be_focused()
    assert page.url == before
    keys.open(page.get_by_role("button", name="Use this voice"))
    expect(page.get_by_role("heading", name="Reports")).to_be_visible()
    assert page.url.endswith(f"/voices/{reports.id}/write")
    expect(text(page)).to_have_value("Half a letter.")


def test_without_javascript_too_the_text_goes_along_to_another_voice(
    chromium: Browser, ada: Person, reports: Voice, url: str
) -> None:
    with tab(chromium, base_url=url, java_script_enabled=False) as page:
        let_in(page, ada, url)
        page.goto(f"{ada.url}/write")
        text(page).fill("Half a letter.")
        page.get_by_label("Voice", exact=True).select_option("Reports")
        page.get_by_role("button", name="Use this voice").click()
        expect(page.get_by_role("heading", name="Reports")).to_be_visible()
        expect(text(page)).to_have_value("Half a letter.")


def test_on_a_phone_nothing_is_wider_than_the_screen(page: Page) -> None:
    page.set_viewport_size({"width": NARROWEST, "height": 740})
    page.get_by_text("How it is written").click()
    page.get_by_label("Drafts").select_option("3")
    go_on(page, "A long beginning, " + "Unübersetzbarkeitsbescheinigungsverfahrensordnung" * 2)
    done(page)
    column(page, "In your voice").get_by_role("button", name="Edit").first.click()
    assert overflow(page) <= 0


def test_without_javascript_the_drafts_come_whole_and_go_into_the_text(
    chromium: Browser, ada: Person, url: str
) -> None:
    with tab(chromium, base_url=url, java_script_enabled=False) as page:
        let_in(page, ada, url)
        page.goto(f"{ada.url}/write")
        expect(page.get_by_role("button", name="Rewrite the selection")).to_be_hidden()
        go_on(page)
        expect(column(page, "In your voice")).to_contain_text(SAID)
        expect(column(page, "In your voice")).to_contain_text("Made with your voice")
        column(page, "In your voice").get_by_role("button", name="Put into my text").click()
        expect(text(page)).to_have_value(f"To whom it concerns: {SAID}")
