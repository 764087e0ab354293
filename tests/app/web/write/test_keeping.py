"""A text that is kept as a sample."""

from typing import Any

import pytest

from storage import samples
from storage.store import Storage
from tests.app.web.browser import TEXT, Person
from tests.app.web.write.wishes import DRAFT


def keep(person: Person, text: str, *accepted: str, title: str = "") -> Any:
    return person.browser.post(f"{person.url}/write/keep", {"text": text, "accepted": list(accepted), "title": title})


def test_a_text_that_is_ones_own_is_kept_as_a_sample_only_when_asked(old_hand: Person, storage: Storage) -> None:
    before = old_hand.num_samples()
    old_hand.browser.post(f"{old_hand.url}/write", {"text": TEXT, "take": DRAFT})
    assert old_hand.num_samples() == before
    page = keep(old_hand, TEXT + DRAFT, DRAFT, title="Spoons")
    assert page.status_code == 200
    assert "Kept as a sample of 39 words, 20 of them yours." in page.text
    with storage.database.reading() as session:
        newest = samples.list_samples(session, storage.keys, old_hand.user.id, old_hand.voice.id)[-1]
    assert (newest.title, newest.text) == ("Spoons", (TEXT + DRAFT).strip())


def test_what_was_only_accepted_is_not_kept_and_the_page_says_why(old_hand: Person) -> None:
    before = old_hand.num_samples()
    page = keep(old_hand, f"It rained,{DRAFT}", DRAFT)
    assert page.status_code == 422
    assert "Not kept: of 21 words, 19 stand as the model wrote them." in page.text
    assert f"It rained,{DRAFT}</textarea>" in page.text
    assert f'name="accepted" value="{DRAFT}"' in page.text
    assert old_hand.num_samples() == before


@pytest.mark.parametrize(("text", "says"), [("", "no text here yet"), ("Too short.", "too short to learn from")])
def test_what_is_no_sample_is_not_kept_either(old_hand: Person, text: str, says: str) -> None:
    page = keep(old_hand, text)
    assert page.status_code == 422
    assert says in page.text
