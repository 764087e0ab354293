"""Guests begin with example pieces, may keep what they made, and leave nothing behind."""

from dataclasses import replace

import pytest
from flask import Flask

from app.config import AppConfig
from app.web.factory import create_app
from app.web.guests import examples
from storage import clock, deliveries, guests, tuning_runs, users, voices
from storage.errors import Conflict, KeyErased, NotFound
from storage.models import User, UserQuota
from storage.store import Storage
from tests.app.web.browser import PASSWORD, Browser, Person
from tests.app.web.training import publish


def come_in(app: Flask) -> tuple[Browser, str]:
    """A guest's browser and the address of the voice."""
    browser = Browser.of(app)
    assert "example pieces" in browser.get("/").text
    return browser, str(browser.post("/guest").headers["Location"])


def guest_of(storage: Storage) -> User:
    with storage.database.session() as session:
        (guest,) = (user for user in users.list_users(session) if user.guest_until is not None)
        return guest


def test_a_guest_finds_the_example_pieces_and_could_train_at_once(app: Flask, storage: Storage) -> None:
    browser, voice = come_in(app)
    page = browser.get(voice)
    assert f"{len(examples())} samples" in page.text
    assert "You are here as a guest" in page.text
    assert "The first bell" in page.text
    assert "Letters I do not send" in page.text
    assert browser.post(f"{voice}/tuning").status_code == 302
    again = browser.post("/guest")
    assert again.headers["Location"].endswith("/"), "who is here already goes where they were"
    assert guest_of(storage).email.endswith("@guest.invalid")


def test_no_page_calls_the_example_pieces_the_guests_own(app: Flask, storage: Storage) -> None:
    browser, voice = come_in(app)
    guest = guest_of(storage)
    with storage.database.session() as session:
        (first,) = voices.list_voices(session, guest.id)
    publish(Person(storage, browser, guest, first))
    with storage.database.session() as session:
        run = tuning_runs.list_runs(session, guest.id)[0].id
    for path in (voice, f"{voice}/versions/1", f"/runs/{run}"):
        page = browser.get(path)
        assert page.status_code == 200
        assert "closer to you" in page.text
        assert "closer to whoever wrote them" in page.text
        assert "of yours" not in page.text


def test_a_guest_who_leaves_leaves_nothing(app: Flask, storage: Storage) -> None:
    browser, voice = come_in(app)
    guest = guest_of(storage)
    assert browser.post("/signout").status_code == 302
    assert "Everything from your visit is deleted" in browser.get("/").text
    assert browser.get(voice).status_code == 302
    with storage.database.session() as session, pytest.raises(NotFound):
        users.get_user(session, guest.id)
    with pytest.raises(KeyErased):
        storage.keys.data_key(guest.id)


def test_a_guests_time_ends(app: Flask, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    browser, voice = come_in(app)
    guest = guest_of(storage)
    with storage.database.session() as session:
        assert guests.expired(session) == []
    later = clock.now() + guests.LIFETIME_S + 1
    monkeypatch.setattr("storage.clock.now", lambda: later)
    assert browser.get(voice).status_code == 302
    with storage.database.session() as session:
        assert guests.expired(session) == [guest.id]


def test_a_guest_who_stays_has_all_of_it_and_a_password(app: Flask, storage: Storage) -> None:
    browser, voice = come_in(app)
    guest = guest_of(storage)
    assert browser.get("/guest/keep").status_code == 200
    assert browser.post("/guest/keep", {"email": "gil@example.org", "password": PASSWORD}).status_code == 302
    assert "This account is yours now" in browser.get(voice).text
    assert "as a guest" not in browser.get(voice).text
    elsewhere = Browser.of(app)
    assert elsewhere.post("/signin", {"email": "gil@example.org", "password": PASSWORD}).status_code == 302
    assert f"{len(examples())} samples" in elsewhere.get(voice).text
    with storage.database.session() as session:
        assert session.get(UserQuota, guest.id) is None
        assert guests.expired(session) == []
    assert browser.get("/guest/keep").headers["Location"] == "/account"


@pytest.mark.parametrize(
    ("email", "password"), [("ada@example.org", PASSWORD), ("x", PASSWORD), ("g@example.org", "no")]
)
def test_who_would_stay_and_cannot_is_told_why_and_stays_a_guest(
    app: Flask, storage: Storage, ada: Person, email: str, password: str
) -> None:
    browser, voice = come_in(app)
    page = browser.post("/guest/keep", {"email": email, "password": password})
    assert page.status_code == 422
    assert f'value="{email}"' in page.text
    assert "as a guest" in browser.get(voice).text
    assert guest_of(storage).email.endswith("@guest.invalid")


@pytest.mark.parametrize("path", ["/account", "/account/access", "/account/notices"])
def test_keys_and_ways_to_sign_in_go_with_an_account_of_ones_own(app: Flask, path: str) -> None:
    browser, _ = come_in(app)
    assert browser.get(path).headers["Location"] == "/guest/keep"
    assert browser.post("/account/keys", {"name": "k", "scope": "read"}).headers["Location"] == "/guest/keep"


def test_no_more_guests_than_there_is_room_for(app: Flask, storage: Storage) -> None:
    config = app.extensions["app_config"]
    small = create_app(replace(config, max_guests=1), storage)
    come_in(small)
    second = Browser.of(small)
    assert second.post("/guest").headers["Location"] == "/"
    assert "as many guests as there is room for" in second.get("/").text
    with storage.database.session() as session:
        assert len(users.list_users(session)) == 1


def test_a_house_without_guests_offers_no_visit(storage: Storage) -> None:
    closed = Browser.of(create_app(AppConfig(api_url="http://127.0.0.1:1", max_guests=0), storage))
    assert "example pieces" not in closed.get("/").text
    closed.post("/guest")
    with storage.database.session() as session:
        assert users.list_users(session) == []


def test_who_kept_their_account_keeps_it_though_the_sweeper_had_them_on_its_list(storage: Storage) -> None:
    with storage.database.session() as session:
        guest = guests.welcome(session, storage.keys, 5, ())
        guests.keep(session, guest.id, email="gil@example.org", password_hash="hash")
    with pytest.raises(NotFound):
        users.erase_user(storage, guest.id, None, guest_until=clock.now() + 2 * guests.LIFETIME_S)
    with storage.database.session() as session:
        assert users.get_user(session, guest.id).email == "gil@example.org"
    with storage.database.session() as session, pytest.raises(Conflict, match="visit is over"):
        guests.keep(session, guest.id, email="hal@example.org", password_hash="hash")


def test_a_guest_gets_no_role_no_letter_and_no_link(app: Flask, storage: Storage) -> None:
    browser, _ = come_in(app)
    guest = guest_of(storage)
    with storage.database.session() as session:
        assert not deliveries.ask_for_reset(session, guest.email)
        with pytest.raises(Conflict, match="guest"):
            users.set_console_role(session, guest.id, "owner")
    assert browser.get("/account/data").headers["Location"] == "/guest/keep"
