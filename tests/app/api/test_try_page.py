"""The page to try the API, in a real browser: it lists what there is and sends the very request it shows."""

import pytest
from playwright.sync_api import Page

from tests.app.api.people import Api, Person
from tests.app.api.test_files import DATA
from tests.end_to_end.browsing import PHONE, launched, needs_browser, overflow, tab

pytestmark = [pytest.mark.browser, needs_browser]


def choose(page: Page, method: str, path: str) -> None:
    page.locator(f"nav button[data-operation='{method} {path}']").click()


def test_a_request_is_shown_sent_and_answered(api: Api, ann: Person) -> None:
    with launched() as browser, tab(browser) as page:
        page.goto(f"{api.url}/v1/docs")
        page.get_by_label("API key").fill(ann.key)
        choose(page, "POST", "/v1/completions")
        shown = page.locator("#curl").inner_text()
        assert f"curl -X POST '{api.url}/v1/completions'" in shown
        assert ann.key not in shown
        page.get_by_role("button", name="Send").click()
        page.locator("#output", has_text="[DONE]").wait_for()
        assert page.locator("#status").inner_text() == "200 OK"
        choose(page, "POST", "/v1/voices")
        page.get_by_label("Idempotency-Key").fill("first")
        assert "-H 'Idempotency-Key: first'" in page.locator("#curl").inner_text()
        for replayed in (False, True):
            page.get_by_role("button", name="Send").click()
            page.locator("#output", has_text='"Letters"').wait_for()
            if replayed:
                page.locator("#headers", has_text="idempotent-replayed: true").wait_for(state="attached")
        choose(page, "GET", "/v1/voices/{voice_id}")
        assert page.get_by_label("Body").is_hidden()
        page.get_by_label("voice_id").fill(ann.voice_id)
        page.get_by_role("button", name="Send").click()
        page.locator("#output", has_text='"My voice"').wait_for()
        page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        assert overflow(page) <= 0


def test_a_file_is_chosen_shown_and_sent(api: Api, ann: Person) -> None:
    with launched() as browser, tab(browser) as page:
        page.goto(f"{api.url}/v1/docs")
        page.get_by_label("API key").fill(ann.key)
        choose(page, "GET", "/v1/files")
        assert page.get_by_label("File").is_hidden()
        choose(page, "POST", "/v1/files")
        assert page.get_by_label("Body").is_hidden()
        page.get_by_label("File").set_input_files({"name": "my.jsonl", "mimeType": "text/plain", "buffer": DATA})
        shown = page.locator("#curl").inner_text()
        assert "-F 'purpose=fine-tune'" in shown
        assert "-F 'file=@my.jsonl'" in shown
        page.get_by_role("button", name="Send").click()
        page.locator("#output", has_text='"filename": "my.jsonl"').wait_for()
