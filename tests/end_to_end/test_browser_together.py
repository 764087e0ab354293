"""Two people at once, each in a browser of their own: what one of them does, gives or trains is nowhere to be seen for
the other, not by way of an address that was passed on either."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page, expect

from storage import run_claims
from storage.run_claims import Claim
from storage.store import Storage
from tests.app.web.browser import Person, join
from tests.app.web.training import begin, measured, publish
from tests.app.web.upstream import Upstream
from tests.end_to_end.browsing import let_in, needs_browser, tab
from tests.factories import SAMPLE_TEXTS, add_samples

pytestmark = [pytest.mark.browser, needs_browser]


@dataclass(frozen=True)
class Side:
    """Somebody, their browser, and what only they may see."""

    person: Person
    page: Page
    text: str
    claim: Claim

    @property
    def addresses(self) -> list[str]:
        """Every page that is about something of theirs."""
        with self.person.storage.database.reading() as session:
            sample = self.person.sample_ids(session)[0]
        voice = self.person.url
        own = ["", "/write", "/settings", "/samples", "/versions/1"]
        of_sample = [f"/samples/{sample}{page}" for page in ("", "/edit", "/split")]
        run = f"/runs/{self.claim.run_id}"
        return [*(voice + path for path in (*own, *of_sample)), run, f"{run}/events"]

    def step(self, number: int) -> None:
        """Their worker goes on."""
        with self.person.storage.database.session() as session:
            run_claims.record_progress(session, self.claim, 10 * (number + 1), measured(number))


@pytest.fixture
def sides(app: Flask, storage: Storage, url: str, chromium: Browser) -> Iterator[tuple[Side, Side]]:
    """Both with a version in use and a training going on, signed in."""
    with tab(chromium, base_url=url) as hers, tab(chromium, base_url=url) as his:
        yield _side(app, storage, "ada", hers, url, 0), _side(app, storage, "bob", his, url, 1)


def _side(app: Flask, storage: Storage, name: str, page: Page, url: str, number: int) -> Side:
    person = join(app, storage, f"{name}@example.org")
    person.browser.post(f"{person.url}/rename", {"name": f"{name.title()}’s letters"})
    add_samples(storage, person.user, person.voice, [SAMPLE_TEXTS[number]])
    person.add(3, text=f"It was {name} who wrote this, on a Tuesday, about spoons. ")
    publish(person)
    let_in(page, person, url)
    return Side(person, page, SAMPLE_TEXTS[number][:30].strip(), begin(person, steps=1))


def test_nothing_of_one_is_on_a_page_of_the_other(sides: tuple[Side, Side]) -> None:
    for own, other in (sides, sides[::-1]):
        told = [other.text, other.person.user.email, other.person.voice.id, other.claim.run_id]
        told.append(other.person.user.email.split("@")[0].title())
        seen = ""
        for address in ("/", "/voices", "/account", *own.addresses[:-1]):
            own.page.goto(address)
            seen += own.page.content()
        assert own.text in seen  # one's own is there
        assert not [secret for secret in told if secret in seen]


def test_an_address_that_was_passed_on_shows_nothing(sides: tuple[Side, Side]) -> None:
    for own, other in (sides, sides[::-1]):
        for address in other.addresses:
            answer = own.page.goto(address)
            assert answer is not None
            assert answer.status == 404, address
            assert other.text not in own.page.content()


def test_each_follows_their_own_training(sides: tuple[Side, Side]) -> None:
    ada, bob = sides
    for side in sides:
        side.page.goto(side.person.url)
        expect(side.page.get_by_role("heading", name="step 10 of 200")).to_be_visible()
    ada.step(4)
    expect(ada.page.get_by_role("heading", name="step 50 of 200")).to_be_visible()
    bob.step(1)
    expect(bob.page.get_by_role("heading", name="step 20 of 200")).to_be_visible()
    expect(ada.page.get_by_role("heading", name="step 50 of 200")).to_be_visible()


def test_each_writes_at_once_in_their_own_voice(sides: tuple[Side, Side], upstream: Upstream) -> None:
    for side in sides:
        side.page.goto(f"{side.person.url}/write")
        side.page.get_by_label("Beside it").select_option("Nothing")
        side.page.get_by_label("Your text").fill(side.text)
    for side in sides:
        side.page.get_by_role("button", name="Go on", exact=True).click()
    for side in sides:
        expect(side.page.locator("#write-status")).to_have_text("Done.")
        letters = side.person.user.email.split("@")[0].title()
        expect(side.page.get_by_role("region", name="In your voice")).to_contain_text(f"{letters}’s letters")
    asked = {side.person.voice.id: side.text.encode() for side in sides}
    assert len(upstream.seen) == len(sides)
    assert len({seen.headers["authorization"] for seen in upstream.seen}) == len(sides)
    for seen in upstream.seen:
        (voice,) = [voice for voice in asked if voice.encode() in seen.body]
        assert asked[voice] in seen.body
