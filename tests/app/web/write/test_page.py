"""The page: its columns, and what stands on it for whom."""

from flask import Flask

from storage import prefixes, voices
from storage.store import Storage
from tests.app.web.browser import Browser, Person
from tests.app.web.write.wishes import DRAFT, register


def test_opening_the_page_brings_the_prefix_into_the_cache(old_hand: Person) -> None:
    prefixes.wipe_cached(old_hand.storage, old_hand.user.id)
    old_hand.browser.get(f"{old_hand.url}/write")
    loaded = prefixes.load_prefix(old_hand.storage, old_hand.user.id, old_hand.voice.id)
    assert (loaded.version, loaded.source) == (2, "cache")


def test_before_training_the_voice_column_says_so_and_asks_for_nothing(writer: Person) -> None:
    page = writer.browser.get(f"{writer.url}/write").text
    assert "never shown as yours" in page
    assert page.count("data-place=") == 1
    assert 'data-writer="base"' in page
    assert 'id="strength"' not in page
    assert 'id="blind"' not in page


def test_with_versions_there_are_two_columns_and_what_may_stand_beside(old_hand: Person) -> None:
    page = old_hand.browser.get(f"{old_hand.url}/write").text
    assert page.count("data-place=") == 2
    assert "version 2 in use" in page
    assert "tiny-base" in page
    assert '<option value="1" data-title="Version 1">' in page
    assert '<option value="2"' not in page
    beside = old_hand.browser.get(f"{old_hand.url}/write?against=1").text
    assert '<option value="1" data-title="Version 1" selected>' in beside
    assert '<h2 id="first-title">Version 1</h2>' in beside


def test_a_voice_that_is_switched_off_is_not_offered(old_hand: Person) -> None:
    old_hand.browser.post(f"{old_hand.url}/versions/use", {"version": ""})
    page = old_hand.browser.get(f"{old_hand.url}/write").text
    assert 'data-writer="mine"' not in page
    assert "this voice is switched off" in page
    assert f'href="{old_hand.url}#versions">Choose a version</a>' in page
    assert "none in use yet" not in page
    assert "Train this voice" not in page


def test_a_brief_is_offered_only_where_the_base_model_follows_one(writer: Person, storage: Storage) -> None:
    page = writer.browser.get(f"{writer.url}/write").text
    assert 'value="brief"' not in page
    assert 'id="brief"' not in page
    register(storage, chat=True)
    page = writer.browser.get(f"{writer.url}/write").text
    assert 'value="brief"' in page
    assert 'id="brief"' in page


def test_before_any_base_model_the_page_is_there_all_the_same(ada: Person) -> None:
    page = ada.browser.get(f"{ada.url}/write")
    assert page.status_code == 200
    assert "has not started yet" in page.text


def test_strangers_are_sent_to_sign_in(web: Flask, writer: Person) -> None:
    assert Browser.of(web).get(f"{writer.url}/write").status_code == 302


def test_the_text_goes_along_to_another_voice_and_its_rival_does_not(old_hand: Person, storage: Storage) -> None:
    with storage.database.session() as session:
        other = voices.create_voice(session, old_hand.user.id, "Reports")
    form = {"text": "Dear all,", "accepted": DRAFT, "against": "1", "task": "voice", "other_voice": other.id}
    moved = old_hand.browser.post(f"{old_hand.url}/write", form)
    assert (moved.status_code, moved.headers["Location"]) == (307, f"/voices/{other.id}/write")
    page = old_hand.browser.post(moved.headers["Location"], form)
    assert page.status_code == 200
    assert '<h1 class="theirs">Reports</h1>' in page.text
    assert "Dear all,</textarea>" in page.text
    assert f'name="accepted" value="{DRAFT}"' in page.text
