"""One text has one number of words, wherever a page says it."""

import io
import re

from storage import samples
from storage.readiness import ENOUGH_WORDS
from tests.app.web.browser import TEXT, Person
from tests.factories import UNTIDY_TEXT, UNTIDY_WORDS

SAID = f"{UNTIDY_WORDS} words"


def said(page: str) -> str:
    """What stands on a page, without its tags."""
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


def test_every_page_says_the_same_number_of_a_pasted_text(ada: Person) -> None:
    pasted = ada.browser.post(f"{ada.url}/samples", {"text": UNTIDY_TEXT}, follow_redirects=True)
    assert f"Kept 1 sample, {SAID}." in said(pasted.text)
    with ada.storage.database.reading() as session:
        (sample_id,) = ada.sample_ids(session)
    voice = said(ada.browser.get(ada.url).text)
    assert f"1 sample, {SAID}" in voice, "the thread"
    assert f"about {ENOUGH_WORDS - UNTIDY_WORDS} more words" in voice, "the meter"
    assert len(re.findall(rf"\b{SAID}\b", voice)) == 3, "the thread, the bar and the row"
    for path in (f"{ada.url}/samples/{sample_id}", "/account/delete"):
        assert SAID in said(ada.browser.get(path).text), path


def test_a_file_a_kept_text_and_what_was_taken_out_are_counted_alike(ada: Person) -> None:
    file = {"files": (io.BytesIO(UNTIDY_TEXT.encode()), "a.txt")}
    came_in = ada.browser.post(f"{ada.url}/samples", file, content_type="multipart/form-data", follow_redirects=True)
    assert SAID in said(came_in.text)
    with ada.storage.database.session() as session:
        (waiting,) = samples.list_samples(session, ada.storage.keys, ada.user.id, ada.voice.id)
        samples.delete_sample(session, user_id=ada.user.id, voice_id=ada.voice.id, sample_id=waiting.id)
    kept = ada.browser.post(f"{ada.url}/write/keep", {"text": UNTIDY_TEXT})
    assert f"Kept as a sample of {SAID}, {UNTIDY_WORDS} of them yours." in said(kept.text)
    letter = f"{TEXT}\n\nOn Tue, 3 Mar 2026, Bob wrote:\n> {UNTIDY_TEXT}\n"
    reply = ada.browser.post(f"{ada.url}/samples", {"text": letter}, follow_redirects=True)
    assert f"quoted lines ({SAID})" in said(reply.text)
