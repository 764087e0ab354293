"""Every page at each of its states, in both themes, on a desktop and on a phone: nobody is kept out (axe-core, WCAG 2.2
AA), nothing is complained of on the console, nothing is wider than its window."""

import pytest

from app.config import AppConfig
from app.web.factory import create_app
from storage.store import Storage
from tests.end_to_end import console_screenshots, reference_screenshots, sample_screenshots, screenshots
from tests.end_to_end.album import LOOKS, Sight, walk_through
from tests.end_to_end.browsing import DESKTOP, complaints_of, launched, needs_browser
from tests.end_to_end.examiner import Examiner

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900), needs_browser]  # the walk is one fixture of many pages
ROOMS = (
    screenshots.take_all,
    sample_screenshots.take_all,
    console_screenshots.take_all,
    reference_screenshots.take_all,
)
NO_PAGES = {
    "static": "files",
    "admin.static": "files",
    "healthz": "for machines",
    "words": "a script",
    "gateway.relay": "the API, whose only page is /v1/docs",
    "admin.audit.export": "a file",
    "identity.leave": "leads to the sign-in service",
    "identity.come_back": "comes from there, and leads on",
    "tuning.events": "a stream that a page's script reads",
    "write.renew_token": "for the writing page's script",
}


@pytest.fixture(scope="module")
def examiner() -> Examiner:
    """Who has seen everything."""
    seen = Examiner()
    walk_through(seen, ROOMS)
    return seen


def test_nobody_is_kept_out(examiner: Examiner) -> None:
    assert not examiner.barriers, "\n".join(examiner.barriers)


def test_no_page_complains(examiner: Examiner) -> None:
    assert not examiner.complaints, examiner.complaints


def test_nothing_is_wider_than_its_window(examiner: Examiner) -> None:
    assert not examiner.too_wide, "\n".join(examiner.too_wide)


def test_no_page_was_forgotten(examiner: Examiner, storage: Storage) -> None:
    app = create_app(AppConfig(api_url="http://127.0.0.1:1"), storage)
    routes = {rule.endpoint for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())}
    assert routes - NO_PAGES.keys() - examiner.endpoints == set(), "show them in the modules of pictures"
    assert NO_PAGES.keys() <= routes
    assert not NO_PAGES.keys() & examiner.endpoints
    assert {name.rsplit("-", 2)[0] for name in examiner.sights} >= {"welcome", "voice-published", "console-overview"}
    for size, scheme in LOOKS:
        assert any(name.endswith(f"-{size['width']}-{scheme}") for name in examiner.sights)


def test_the_examiner_finds_fault_with_a_bad_page() -> None:
    bad = "<main style='width: 2000px'><p style='color: #bbb'>Pale <input></p><script>throw 'lost'</script></main>"
    seen = Examiner()
    with launched() as browser:
        page = browser.new_page(viewport=DESKTOP)
        complaints = complaints_of(page)
        page.set_content(bad)
        seen.see(Sight("bad", "light", DESKTOP["width"], page, complaints))
    assert {barrier.split()[1] for barrier in seen.barriers} >= {"color-contrast", "label"}
    assert seen.complaints == {"bad-1280-light": ["lost"]}
    assert len(seen.too_wide) == 1
