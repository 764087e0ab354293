"""The writer's pages in a real browser: live parts one by one with a hand-played worker, then the whole journey on the
whole platform (real worker, API, queue and cache) with a tiny model."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from storage import run_claims
from tests.app.web.browser import PASSWORD, TEXT, Person
from tests.app.web.training import FIGURES, STYLES, add_report, begin, end, measured, publish
from tests.end_to_end.browsing import NARROWEST, TRAINING_MS, let_in, needs_browser, overflow, scripted, sign_up, tab
from tests.end_to_end.wire import wired

pytestmark = [pytest.mark.browser, needs_browser]
LINE = "The lighthouse keeper counts the waves and writes them down in blue ink. "


@pytest.fixture
def page(url: str, ada: Person, chromium: Browser) -> Iterator[Page]:
    """A page of a browser in which Ada is signed in."""
    with tab(chromium, base_url=url) as page:
        let_in(page, ada, url)
        yield page


def step(ada: Person, claim: run_claims.Claim, number: int) -> None:
    with ada.storage.database.session() as session:
        run_claims.record_progress(session, claim, 10 * (number + 1), measured(number))


def test_training_is_followed_live_and_what_is_being_typed_stays(page: Page, ada: Person) -> None:
    claim = begin(ada, steps=1)
    page.goto(ada.url)
    page.get_by_label("Paste something you wrote").fill("I am in the middle of a")
    expect(page.get_by_role("heading", name="step 10 of 200")).to_be_visible()
    step(ada, claim, 1)
    expect(page.get_by_role("heading", name="step 20 of 200")).to_be_visible()
    step(ada, claim, 2)
    expect(page.get_by_role("img", name="Loss on pieces kept back")).to_be_visible()
    expect(page.get_by_text("About 40 s left")).to_be_visible()
    end(ada, claim, "succeeded", published=False, figures=FIGURES)
    expect(page.get_by_role("heading", name="nothing was changed")).to_be_visible()
    expect(page.get_by_role("link", name="Add samples")).to_be_visible()
    expect(page.locator("#announce")).to_contain_text("nothing was changed")
    expect(page.get_by_label("Paste something you wrote")).to_have_value("I am in the middle of a")


@pytest.mark.parametrize("path", ["", "/versions/1"])
def test_a_report_comes_by_itself_once_it_is_measured(page: Page, ada: Person, path: str) -> None:
    publish(ada)
    page.goto(ada.url + path)
    note = page.get_by_text("comes here by itself")
    expect(note).to_be_visible()
    add_report(ada)
    expect(page.get_by_text("Base model, shown your samples first")).to_be_visible()
    expect(note).to_have_count(0)


def test_the_step_follows_a_training_that_waits(page: Page, ada: Person) -> None:
    ada.add(3)
    run = ada.run()
    page.goto(ada.url)
    says = page.locator("#voice-says")
    expect(says).to_have_text("waiting to train")
    with ada.storage.database.session() as session:
        assert run_claims.claim(session, run.id, worker="hand", lease_s=60, max_attempts=3)
    expect(says).to_have_text("in training")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("heading", name="Pausing")).to_be_visible()


def test_news_of_a_training_leave_the_focus_where_it_is(page: Page, ada: Person) -> None:
    claim = begin(ada, steps=1)
    page.goto(ada.url)
    for number, name in enumerate(("Pause", "Stop training"), start=1):
        button = page.get_by_role("button", name=name)
        button.focus()
        step(ada, claim, number)
        expect(page.get_by_role("heading", name=f"step {10 * (number + 1)} of 200")).to_be_visible()
        expect(button).to_be_focused()


@pytest.mark.parametrize("where", ["voice", "run"])
def test_a_connection_lost_and_restored_in_mid_training(url: str, ada: Person, chromium: Browser, where: str) -> None:
    claim = begin(ada, steps=1)
    with wired(url) as wire, tab(chromium, base_url=wire.url) as page:
        let_in(page, ada, wire.url)
        page.goto(ada.url if where == "voice" else f"/runs/{claim.run_id}")
        expect(page.get_by_role("heading", name="step 10 of 200")).to_be_visible()
        step(ada, claim, 1)
        expect(page.get_by_role("heading", name="step 20 of 200")).to_be_visible()
        wire.cut()
        step(ada, claim, 2)
        expect(page.get_by_role("heading", name="step 20 of 200")).to_be_visible()  # what it knew is kept
        wire.mend()
        expect(page.get_by_role("heading", name="step 30 of 200")).to_be_visible()
        wire.cut()
        end(ada, claim, "succeeded", published=False, figures=FIGURES)
        wire.mend()
        expect(page.get_by_role("heading", name="nothing was changed")).to_be_visible()  # an end that was missed, too


def test_a_training_is_stopped_with_a_button(page: Page, ada: Person) -> None:
    claim = begin(ada)
    page.goto(ada.url)
    page.get_by_role("button", name="Stop training").click()
    expect(page.get_by_role("heading", name="Stopping after the present step")).to_be_visible()
    end(ada, claim, "cancelled")
    expect(page.get_by_role("heading", name="You stopped this training at step 30")).to_be_visible()
    expect(page.get_by_role("button", name="Train again")).to_be_visible()


def test_a_sample_is_left_out_by_keyboard_without_losing_place_or_text(page: Page, ada: Person) -> None:
    ada.add(3)
    page.goto(ada.url)
    page.get_by_label("Paste something you wrote").fill("half a sentence")
    tick = page.get_by_role("button", name="Use “Piece 1.")
    tick.focus()
    page.keyboard.press("Enter")
    expect(tick).to_have_attribute("aria-pressed", "false")
    expect(tick).to_be_focused()
    expect(page.get_by_text("left out ·")).to_be_visible()
    expect(page.locator("#readiness")).not_to_be_empty()
    expect(page.get_by_label("Paste something you wrote")).to_have_value("half a sentence")


def test_files_are_named_when_chosen_and_bad_ones_explained_when_sent(page: Page, ada: Person, tmp_path: Path) -> None:
    (tmp_path / "jam.txt").write_text(TEXT)
    (tmp_path / "scan.txt").write_bytes(bytes(range(256)))
    page.goto(ada.url)
    page.get_by_label("Files (").set_input_files([tmp_path / "jam.txt", tmp_path / "scan.txt"])
    expect(page.locator("#chosen")).to_have_text("Ready to add: jam.txt, scan.txt")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("scan.txt")
    expect(page.get_by_role("link", name="jam", exact=True)).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_a_phone(page: Page, ada: Person, scheme: str) -> None:
    publish(ada)
    add_report(ada, style=STYLES)
    ada.browser.post(f"{ada.url}/rename", {"name": "Unübersetzbarkeitsbescheinigungsverfahrensordnungsletters"})
    with ada.storage.database.session() as session:
        sample = ada.sample_ids(session)[0]
    page.set_viewport_size({"width": NARROWEST, "height": 740})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    paths = ("", "/write", "/versions/1", "/settings", f"/samples/{sample}")
    for path in ("/voices", "/account", "/account/delete", "/nowhere", *(ada.url + path for path in paths)):
        page.goto(path)
        assert overflow(page) <= 0, path


def test_a_page_works_by_keyboard_alone_from_its_first_key(page: Page) -> None:
    page.context.clear_cookies()
    page.goto("/signin")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    page.get_by_label("E-mail address").focus()
    page.keyboard.type("ada@example.org")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="My voice")).to_be_visible()


@pytest.mark.timeout(300)
def test_from_signing_up_to_leaving(platform: str, chromium: Browser, tmp_path: Path) -> None:
    pieces = [tmp_path / f"piece {number}.txt" for number in range(6)]
    for number, piece in enumerate(pieces):
        piece.write_text(f"Piece {number}. {LINE * 3}")
    with tab(chromium, base_url=platform) as page:
        sign_up(page, platform)
        expect(page.get_by_role("heading", name="My voice")).to_be_visible()
        page.get_by_label("Paste something you wrote").fill(f"About the sea. {LINE * 3}")
        page.get_by_label("Files (").set_input_files(pieces)
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.get_by_role("status").filter(has_text="6 pieces came in")).to_be_visible()
        for tick in page.get_by_role("checkbox").all():  # they are much alike, so that not all are ticked
            tick.check()
        page.get_by_role("button", name="Use what is ticked").first.click()

        page.get_by_role("button", name="Train this voice").click()
        page.evaluate("window.neverReloaded = true")
        ready = page.get_by_role("heading", name="A new version is ready")
        expect(ready).to_be_visible(timeout=TRAINING_MS)
        assert page.evaluate("window.neverReloaded")
        write_both(page)

        page.get_by_role("link", name="Voice", exact=True).click()
        page.get_by_role("button", name="Train a new version").click()
        expect(page.get_by_text("Version 2", exact=True)).to_be_visible(timeout=TRAINING_MS)
        page.get_by_role("button", name="Use version 1 instead").click()
        expect(page.get_by_text("Version 1 speaks from now on.")).to_be_visible()
        compare_blindly(page)

        secret = new_key(page)
        models = httpx.get(f"{platform}/v1/models", headers={"Authorization": f"Bearer {secret}"}).json()
        assert len(models["data"]) == 2

        leave(page)
        assert httpx.get(f"{platform}/v1/models", headers={"Authorization": f"Bearer {secret}"}).status_code == 401


def write_both(page: Page) -> None:
    """One beginning, two columns, each with words of its own."""
    page.get_by_role("link", name="Write with this voice").click()
    scripted(page)
    page.get_by_label("Your text").fill("The lighthouse keeper")
    page.get_by_role("button", name="Go on", exact=True).click()
    mine, base = page.get_by_role("region", name="In your voice"), page.get_by_role("region", name="Base model")
    expect(mine).to_contain_text("your voice “My voice”, version 1", timeout=TRAINING_MS)
    expect(base).to_contain_text("Made with the base model")
    base_text, mine_text = (column.locator(".output").inner_text() for column in (base, mine))
    assert base_text
    assert mine_text
    assert base_text != mine_text


def compare_blindly(page: Page) -> None:
    """Two versions beside each other, stronger than they are, whose makers are told after the choice and counted."""
    page.get_by_role("link", name="Compare version 2 with the one in use").click()
    page.get_by_label("Blind").check()
    page.get_by_label("Strength").fill("1.5")
    page.get_by_label("Your text").fill("The lighthouse keeper")
    page.get_by_role("button", name="Go on", exact=True).click()
    page.get_by_role("button", name="The first").click(timeout=TRAINING_MS)
    expect(page.locator("#choice-said")).to_contain_text("Noted. The first was version")
    page.get_by_role("link", name="Voice", exact=True).click()
    page.get_by_role("link", name="The whole report of version 1").click()
    expect(page.get_by_text("Against version 2, at other strengths than 1:")).to_be_visible()


def new_key(page: Page) -> str:
    """An API key, shown once."""
    page.get_by_role("link", name="Account").click()
    page.get_by_label("Name of a new key").fill("laptop")
    page.get_by_role("button", name="Make a key").click()
    secret = page.locator("#secret").inner_text()
    page.get_by_role("link", name="I have copied it").click()
    expect(page.get_by_text("laptop")).to_be_visible()
    return secret


def leave(page: Page) -> None:
    """Delete the account, with the word, and get a receipt."""
    page.get_by_role("link", name="Your data").click()
    page.get_by_role("link", name="Delete this account").click()
    page.get_by_label("Type delete to go on").fill("delete")
    page.get_by_role("button", name="Delete my account").click()
    expect(page.get_by_role("heading", name="Your account is deleted")).to_be_visible()
    expect(page.get_by_text("destroyed")).to_be_visible()
