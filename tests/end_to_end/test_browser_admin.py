"""The console in a real browser: an administrator signs in, helps with a run, suspends somebody, reads the trail."""

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page, expect

from storage.store import Storage
from tests.app.web.browser import PASSWORD, Person, join
from tests.app.web.training import begin
from tests.end_to_end.browsing import DESKTOP, NARROWEST, PHONE, needs_browser, overflow, tab

pytestmark = [pytest.mark.browser, needs_browser]
PAGES = ("", "users", "keys", "runs", "failures", "workers", "cache", "usage", "storage", "base-models", "audit")


@pytest.fixture(autouse=True)
def chief(app: Flask, storage: Storage) -> Person:
    return join(app, storage, "chief@example.org", role="admin")


def sign_in(page: Page, url: str, email: str) -> None:
    page.goto(f"{url}/signin")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda address: "signin" not in address)


def test_an_administrator_cancels_a_run_suspends_its_owner_and_sees_both_in_the_trail(
    url: str, ada: Person, chromium: Browser
) -> None:
    claim = begin(ada)
    with tab(chromium) as page:
        sign_in(page, url, "chief@example.org")
        page.get_by_role("link", name="Console").click()
        console = page.get_by_role("navigation", name="Console")
        console.get_by_role("link", name="Runs").click()
        page.get_by_role("navigation", name="State of the runs").get_by_role("link", name="running").click()
        page.get_by_role("row").nth(1).click()  # anywhere in the row: it is one link
        expect(page).to_have_url(f"{url}/admin/runs/{claim.run_id}")
        page.get_by_role("button", name="Cancel the run").click()
        expect(page.get_by_text("Cancelling")).to_be_visible()

        page.get_by_role("link", name="ada@example.org").click()
        page.get_by_role("button", name="Suspend").click()
        expect(page.get_by_role("button", name="Let back in")).to_be_visible()

        console.get_by_role("link", name="Audit trail").click()
        for action in ("run.cancel_requested", "user.suspended"):
            expect(page.get_by_role("row").filter(has_text=action)).to_be_visible()
        page.get_by_label("Action").select_option("user.suspended")
        page.get_by_role("button", name="Filter").click()
        expect(page.get_by_role("row")).to_have_count(2)
    assert ada.browser.get("/account").status_code == 302


def test_maintenance_is_begun_with_a_reason_its_waiter_reads_it_and_it_ends(
    url: str, ada: Person, chromium: Browser
) -> None:
    ada.add(3)
    ada.run()
    with tab(chromium) as page, tab(chromium) as hers:
        sign_in(page, url, "chief@example.org")
        page.goto(f"{url}/admin/workers")
        page.get_by_label("Why, in a few words").fill("A new disk, until noon")
        page.get_by_role("button", name="Begin maintenance").click()
        expect(page.get_by_text("No worker holds a run any more")).to_be_visible()
        sign_in(hers, url, "ada@example.org")
        hers.goto(f"{url}{ada.url}")
        expect(hers.get_by_text("A new disk, until noon. Yours keeps its place")).to_be_visible()
        page.get_by_role("button", name="End maintenance").click()
        expect(page.get_by_role("status")).to_contain_text("1 run that waits is announced")
        expect(hers.get_by_text("when a worker is free")).to_be_visible()  # by itself: the page is told


def test_a_sample_is_read_with_a_reason_and_a_role_and_a_quota_are_given(
    url: str, ada: Person, chromium: Browser
) -> None:
    ada.add(1)
    with tab(chromium) as page:
        sign_in(page, url, "chief@example.org")
        page.goto(f"{url}/admin/users/{ada.user.id}")
        page.get_by_role("link", name="one sample can be read with a reason").click()
        page.get_by_label("Why you have to read it").fill("Ada asked why her training stopped")
        page.get_by_role("radio").check()
        page.get_by_role("button", name="Write it down and read").click()
        expect(page.get_by_text("how many spoons one owns").first).to_be_visible()

        page.get_by_role("link", name="ada@example.org").first.click()
        page.get_by_role("link", name="Set other quotas").click()
        page.get_by_label("Voices", exact=True).fill("3")
        page.get_by_role("button", name="Set the quotas").click()
        expect(page.get_by_role("row").filter(has_text="an owner")).to_be_visible()

        page.get_by_role("radio", name="Auditor").check()
        page.get_by_role("button", name="Change the role").click()
        expect(page.get_by_role("status")).to_contain_text("is an auditor here")

        sign_out = page.get_by_role("button", name="Sign out")
        sign_out.click()
        sign_in(page, url, "ada@example.org")
        page.get_by_role("link", name="Account").click()
        page.get_by_role("link", name="See which, and why").click()
        expect(page.get_by_text("Ada asked why her training stopped")).to_be_visible()
        page.get_by_role("link", name="Console").click()
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        refused = page.goto(f"{url}/admin/users/{ada.user.id}/reading")
        assert refused is not None
        assert refused.status == 403
        expect(page.get_by_text("This takes an owner")).to_be_visible()


def test_an_erasure_needs_the_address_typed_and_then_the_person_is_gone(
    url: str, ada: Person, chromium: Browser
) -> None:
    with tab(chromium) as page:
        sign_in(page, url, "chief@example.org")
        page.goto(f"{url}/admin/users?q=ada")
        page.get_by_role("link", name="ada@example.org").click()
        page.get_by_label("Type ada@example.org").fill("ada")
        page.get_by_role("button", name="Erase for good").click()
        expect(page.get_by_text("Nothing was erased")).to_be_visible()
        page.get_by_label("Type ada@example.org").fill("ada@example.org")
        page.get_by_role("button", name="Erase for good").click()
        expect(page.get_by_role("status")).to_contain_text("Erased")
        expect(page.get_by_role("link", name="ada@example.org")).to_have_count(0)


def test_a_writer_finds_no_console(url: str, ada: Person, chromium: Browser) -> None:
    with tab(chromium) as page:
        sign_in(page, url, "ada@example.org")
        expect(page.get_by_role("link", name="Console")).to_have_count(0)
        answer = page.goto(f"{url}/admin/users")
        assert answer is not None
        assert answer.status == 404


def test_no_page_of_the_console_is_wider_than_its_window(url: str, ada: Person, chromium: Browser) -> None:
    claim = begin(ada)
    theirs = f"users/{ada.user.id}"
    paths = [*PAGES, theirs, f"{theirs}/quotas", f"{theirs}/reading", f"runs/{claim.run_id}"]
    with tab(chromium) as page:
        sign_in(page, url, "chief@example.org")
        for size in (DESKTOP, PHONE, {"width": NARROWEST, "height": 800}):
            page.set_viewport_size(size)  # type: ignore[arg-type]
            for path in paths:
                page.goto(f"{url}/admin/{path}")
                assert overflow(page) <= 0, f"/admin/{path} at {size['width']} px"
