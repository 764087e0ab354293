"""The account's pages in a real browser: losing a password and coming back, signing in with another service, taking
everything along and bringing it back, being told, and leaving with a receipt."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page, expect

from app.config import AppConfig
from app.web.factory import create_app
from storage.store import Storage
from tests.app.web.browser import PASSWORD, Person, join
from tests.app.web.provider import CLIENT_ID, CLIENT_SECRET, Provider, running_provider
from tests.app.web.serving import listening
from tests.end_to_end.browsing import NARROWEST, needs_browser, overflow, sign_up, tab
from tests.mailbox import Mailbox, running_mailbox
from tuning.config import PostConfig
from tuning.postman import Postman

pytestmark = [pytest.mark.browser, needs_browser]
NEW = "another plum jam"
PATHS = ("/account", "/account/access", "/account/notices", "/account/data", "/account/delete")


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running_provider() as running:
        yield running


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with running_mailbox() as running:
        yield running


@dataclass(frozen=True)
class Place:
    """A platform of which the web role listens, and its postman."""

    url: str
    app: Flask
    postman: Postman


@pytest.fixture
def place(storage: Storage, provider: Provider, box: Mailbox) -> Iterator[Place]:
    """One that sends mail and knows another sign-in service. Its own address, which is part of its settings, is known
    only once something listens there."""
    door = Flask("door")
    with listening(door) as url:
        mail = f"smtp+plain://127.0.0.1:{box.port}"
        post = PostConfig(smtp_url=mail, mail_from="i@example.org", public_url=url)
        config = AppConfig(
            public_url=url,
            oidc_issuer=provider.url,
            oidc_client_id=CLIENT_ID,
            oidc_client_secret=CLIENT_SECRET,
            oidc_name="Lighthouse",
        )
        app = create_app(config, storage, post)
        door.wsgi_app = app.wsgi_app  # type: ignore[method-assign]
        yield Place(url, app, Postman(storage, post))


def sign_in(page: Page, url: str, password: str) -> None:
    page.goto(f"{url}/signin")
    page.get_by_label("E-mail address").fill("ada@example.org")
    page.get_by_label("Password").fill(password)
    page.get_by_role("main").get_by_role("button", name="Sign in", exact=True).click()


def test_a_lost_password_is_replaced_by_a_letters_link(place: Place, chromium: Browser, box: Mailbox) -> None:
    with tab(chromium) as page, tab(chromium) as elsewhere:
        sign_up(elsewhere, place.url)
        page.goto(f"{place.url}/signin")
        page.get_by_role("link", name="Forgotten your password?").click()
        page.get_by_label("E-mail address").fill("ada@example.org")
        page.get_by_role("button", name="Send the letter").click()
        expect(page.get_by_role("main")).to_contain_text("is on its way")
        while not box.letters:  # it is asked for once the answer is out; the test's own time-out ends this
            place.postman.carry()
            page.wait_for_timeout(20)
        found = re.search(r"http\S+/password/new\?token=\S+", box.letters[0].get_content())
        assert found
        page.goto(found.group())
        page.get_by_label("New password").fill(NEW)
        page.get_by_role("button", name="Change the password").click()
        expect(page.get_by_role("status")).to_contain_text("Your password is changed")
        sign_in(page, place.url, NEW)
        expect(page.get_by_role("link", name="Account")).to_be_visible()
        elsewhere.goto(f"{place.url}/account")
        expect(elsewhere.get_by_role("heading", name="Sign in")).to_be_visible()


def test_another_service_leads_in_and_is_connected_from_the_account(
    place: Place, chromium: Browser, provider: Provider
) -> None:
    with tab(chromium) as page:
        sign_up(page, place.url)
        page.goto(f"{place.url}/account/access")
        page.get_by_role("link", name="Connect Lighthouse").click()
        expect(page.get_by_role("status")).to_contain_text("Connected")
        page.get_by_role("button", name="Sign out").click()
        page.goto(f"{place.url}/signin")
        page.get_by_role("link", name="Sign in with Lighthouse").click()
        expect(page.get_by_role("link", name="Account")).to_be_visible()
        page.goto(f"{place.url}/account/access")
        page.get_by_role("button", name="Disconnect Lighthouse").click()
        expect(page.get_by_role("link", name="Connect Lighthouse")).to_be_visible()


def test_one_browser_ends_the_others(place: Place, chromium: Browser) -> None:
    with tab(chromium) as page, tab(chromium) as other:
        sign_up(page, place.url)
        sign_in(other, place.url, PASSWORD)
        expect(other.get_by_role("link", name="Account")).to_be_visible()
        page.goto(f"{place.url}/account/access")
        expect(page.get_by_text("Chrome on Linux")).to_have_count(2)
        page.get_by_role("button", name="End all others").click()
        expect(page.get_by_role("status")).to_contain_text("1 browser is signed out")
        other.reload()
        other.goto(f"{place.url}/account")
        expect(other.get_by_role("heading", name="Sign in")).to_be_visible()


def test_everything_is_taken_along_brought_back_and_left_with_a_receipt(
    place: Place, chromium: Browser, storage: Storage, tmp_path: Path
) -> None:
    with tab(chromium) as page:
        sign_up(page, place.url)
        person = join(place.app, storage, "bob@example.org")
        person.add(3)
        taken = take_along(person, tmp_path)
        page.goto(f"{place.url}/account/data")
        page.get_by_label("The .zip of an export").set_input_files(taken)
        page.get_by_label("All of it is my own writing").check()
        page.get_by_role("button", name="Bring it in").click()
        expect(page.get_by_role("status")).to_contain_text("3 samples are here now.")
        page.goto(f"{place.url}/account/data")
        with page.expect_download() as download:
            page.get_by_role("button", name="Download the copy").click()
        assert re.fullmatch(r"idiolect-\d{4}-\d\d-\d\d\.zip", download.value.suggested_filename)
        assert download.value.path().stat().st_size > 1000
        page.get_by_role("link", name="Delete this account").click()
        page.get_by_label("Type delete to go on").fill("delete")
        page.get_by_role("button", name="Delete my account").click()
        page.goto(page.locator("#link").inner_text())
        expect(page.get_by_role("main")).to_contain_text("no row of this account is in the database")
        expect(page.get_by_role("main")).to_contain_text("3 samples")


def take_along(person: Person, folder: Path) -> Path:
    """Somebody's export as a file."""
    path = folder / "idiolect.zip"
    path.write_bytes(person.browser.post("/account/export").data)
    return path


def test_who_wants_to_be_told_finds_the_secret_and_no_page_is_too_wide(place: Place, chromium: Browser) -> None:
    with tab(chromium, viewport={"width": NARROWEST, "height": 800}) as page:
        sign_up(page, place.url)
        page.goto(f"{place.url}/account/notices")
        page.get_by_label("By e-mail to ada@example.org").check()
        page.get_by_label("By webhook").fill("http://example.org")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("alert")).to_contain_text("https only")
        page.get_by_label("By webhook").fill("https://example.org/hook")
        page.get_by_role("button", name="Save").click()
        expect(page.locator("#secret")).to_contain_text("whsec_")
        expect(page.get_by_label("By e-mail to ada@example.org")).to_be_checked()
        for path in PATHS:
            page.goto(f"{place.url}{path}")
            assert overflow(page) <= 0, path
