import re

import pytest

from storage import samples, voices
from storage.text_intake import draft
from tests.app.web.browser import TEXT, Browser, Person
from tests.app.web.training import begin, publish


def test_a_stranger_is_welcomed_with_the_next_step(browser: Browser) -> None:
    page = browser.get("/")
    assert page.status_code == 200
    assert "/signup" in page.text


def test_a_newcomer_lands_on_samples_and_an_old_hand_on_writing(ada: Person) -> None:
    assert ada.browser.get("/").location == ada.url
    publish(ada)
    assert ada.browser.get("/").location == f"{ada.url}/write"


def test_an_empty_voice_shows_the_one_next_step(ada: Person) -> None:
    page = ada.browser.get(ada.url).text
    assert "Paste something you wrote" in page
    assert "Train this voice" not in page
    assert "Versions" not in page


def headings(page: str) -> list[str]:
    return re.findall(r"<h2[^>]*>([^<]+)</h2>", page)


def test_the_page_of_a_voice_opens_with_what_there_is_to_do_next(ada: Person) -> None:
    samples_first, voice_first = ["Samples", "Voice"], ["Voice", "Samples"]
    assert headings(ada.browser.get(ada.url).text) == samples_first
    ada.add(2)
    assert headings(ada.browser.get(ada.url).text) == samples_first, "not enough to train on"
    ada.add(1, "Another piece altogether. ")
    assert headings(ada.browser.get(ada.url).text) == voice_first, "the next step is to train"
    refused = ada.browser.post(f"{ada.url}/samples", {"text": "Too short."}).text
    assert headings(refused) == samples_first, "what is to be mended stands first"
    with ada.storage.database.session() as session:
        drafts = [draft(f"Something else that waits. {TEXT}")]
        given = {"user_id": ada.user.id, "voice_id": ada.voice.id, "drafts": drafts}
        samples.add_drafts(session, ada.storage.keys, waiting=True, **given)
    assert headings(ada.browser.get(ada.url).text) == samples_first, "somebody has to look through them"
    begin(ada)
    assert headings(ada.browser.get(ada.url).text) == voice_first, "a training is to be watched"


def test_somebody_without_a_voice_is_asked_to_make_one(ada: Person) -> None:
    ada.browser.post(f"{ada.url}/delete", {"word": "delete"})
    assert ada.browser.get("/").location == "/voices"
    assert "You have no voice yet" in ada.browser.get("/voices").text


def test_a_second_voice_is_made_named_and_listed(ada: Person) -> None:
    made = ada.browser.post("/voices", {"name": "  Lab   notes "})
    page = ada.browser.get(made.location).text
    assert "Lab notes" in page
    assert "Lab notes" in ada.browser.get("/voices").text
    ada.browser.post(f"{made.location}/rename", {"name": "Letters & “cards”"})
    assert "Letters &amp; “cards”" in ada.browser.get("/voices").text


@pytest.mark.parametrize("name", ["", "   "])
def test_a_voice_needs_a_name(ada: Person, name: str) -> None:
    assert ada.browser.post("/voices", {"name": name}).status_code == 422
    page = ada.browser.post(f"{ada.url}/rename", {"name": name})
    assert page.status_code == 422
    assert "Give the voice a name" in page.text


def test_markup_in_a_name_is_shown_and_never_run(ada: Person) -> None:
    ada.browser.post(f"{ada.url}/rename", {"name": "<script>alert(1)</script>"})
    for path in (ada.url, "/voices", f"{ada.url}/write", f"{ada.url}/settings", "/account/delete"):
        page = ada.browser.get(path).text
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert" in page


def test_deleting_a_voice_asks_for_the_word_and_keeps_what_was_typed(ada: Person) -> None:
    page = ada.browser.post(f"{ada.url}/delete", {"word": "remove"})
    assert page.status_code == 422
    assert 'value="remove"' in page.text
    assert ada.browser.get(ada.url).status_code == 200
    done = ada.browser.post(f"{ada.url}/delete", {"word": "delete"}, follow_redirects=True)
    assert "is deleted" in done.text
    assert ada.browser.get(ada.url).status_code == 404


def test_versions_are_listed_and_one_can_go_back(ada: Person) -> None:
    publish(ada)
    publish(ada)
    page = ada.browser.get(ada.url).text
    assert "Version 2</b> <span" in page
    assert "Use version 1 instead" in page
    assert "12 % closer to you" in page
    ada.browser.post(f"{ada.url}/versions/use", {"version": "1"})
    page = ada.browser.get(ada.url).text
    assert "Version 1 speaks from now on" in page
    assert "Use version 2 instead" in page


def test_of_many_versions_the_newest_and_the_one_in_use_are_shown_and_all_for_the_asking(ada: Person) -> None:
    for _ in range(11):
        publish(ada)
    ada.browser.post(f"{ada.url}/versions/use", {"version": "2"})
    page = ada.browser.get(ada.url).text
    shown = [number for number in range(1, 12) if f"<b>Version {number}</b>" in page]
    assert shown == [2, *range(4, 12)]
    assert f'href="{ada.url}?versions=all#voice">All 11 versions</a>' in page
    assert ada.browser.get(f"{ada.url}?versions=all").text.count("<b>Version ") == 11


def test_the_voice_can_be_switched_off_and_on_again(ada: Person) -> None:
    publish(ada)
    ada.browser.post(f"{ada.url}/versions/use", {"version": ""})
    page = ada.browser.get(ada.url).text
    assert "This voice is switched off" in page
    assert "Choose one of its versions below to switch it on again" in page
    assert 'id="versions"' in page
    assert "A new version is ready" not in page
    listed = ada.browser.get("/voices").text
    assert "switched off" in listed
    assert "not trained yet" not in listed
    assert "Use version 1</button>" in page
    with ada.storage.database.session() as session:
        assert voices.get_voice(session, ada.user.id, ada.voice.id).active_version is None


def test_an_unknown_version_is_not_there(ada: Person) -> None:
    assert ada.browser.post(f"{ada.url}/versions/use", {"version": "7"}).status_code == 404


FOREIGN_GETS = ("{voice}", "{voice}/settings", "{voice}/write", "{voice}/samples/{sample}", "/runs/{run}")
FOREIGN_POSTS = (
    "{voice}/rename",
    "{voice}/delete",
    "{voice}/versions/use",
    "{voice}/samples",
    "{voice}/samples/{sample}/include",
    "{voice}/samples/{sample}/delete",
    "{voice}/tuning",
    "/runs/{run}/cancel",
)


def test_nothing_of_anothers_is_there_for_me(ada: Person, bob: Person) -> None:
    bob.add(3)
    with bob.storage.database.session() as session:
        sample = bob.sample_ids(session)[0]
    names = {"voice": bob.url, "sample": sample, "run": bob.run().id}
    before = bob.browser.get(bob.url).text
    form = {"name": "mine", "word": "delete", "version": "", "text": "my own words " * 20, "included": "0"}
    for path in (*FOREIGN_GETS, "/runs/{run}/events"):
        page = ada.browser.get(path.format(**names))
        assert page.status_code == 404, path
        assert "There is nothing here" in page.text
    for path in FOREIGN_POSTS:
        assert ada.browser.post(path.format(**names), form).status_code == 404, path
    assert ada.browser.post(f"{ada.url}/samples/{sample}/delete").status_code == 404
    assert bob.browser.get(bob.url).text.count("tick-sample") == before.count("tick-sample") == 3


def test_what_does_not_exist_is_a_page_too(ada: Person) -> None:
    for path in ("/voices/voice-none", "/runs/run-none", "/nowhere", f"{ada.url}/samples/sample-none"):
        page = ada.browser.get(path)
        assert page.status_code == 404
        assert "There is nothing here" in page.text
