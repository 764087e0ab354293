"""Who is signed in, and the password."""

import re

import pytest
from flask import Flask

from app.web.browser_names import browser_name
from storage import audit, users
from storage.store import Storage
from tests.app.web.browser import PASSWORD, Browser, Person

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Version/18.5 Safari/604.1"
END = re.compile(r"/account/sessions/([0-9a-f]+)/end")


def sign_in(app: Flask, person: Person, user_agent: str) -> Browser:
    browser = Browser.of(app)
    form = {"email": person.user.email, "password": PASSWORD}
    assert browser.post("/signin", form, headers={"User-Agent": user_agent}).status_code == 302
    return browser


def signed_in(browser: Browser) -> bool:
    return browser.get("/account").status_code == 200


def test_ones_browsers_are_listed_by_name_and_no_token_or_hash_of_one_is_shown(
    app: Flask, ada: Person, bob: Person
) -> None:
    sign_in(app, ada, FIREFOX)
    phone = sign_in(app, ada, PHONE)
    page = phone.get("/account/access").text
    assert page.index("Safari on an iPhone") < page.index("this one") < page.index("Firefox on Linux")
    assert page.count("this one</span>") == 1
    ids = END.findall(page)
    assert len(ids) == 2
    assert {len(session_id) for session_id in ids} == {16}
    assert "Firefox" not in bob.browser.get("/account/access").text
    assert "End all others" not in bob.browser.get("/account/access").text


def test_one_browser_is_ended_and_the_others_stay(app: Flask, ada: Person, storage: Storage) -> None:
    lost, kept = sign_in(app, ada, PHONE), sign_in(app, ada, FIREFOX)
    page = ada.browser.get("/account/access").text
    row = next(row for row in page.split("<li>") if "iPhone" in row)
    assert ada.browser.post(f"/account/sessions/{END.findall(row)[0]}/end").status_code == 302
    assert (signed_in(lost), signed_in(kept), signed_in(ada.browser)) == (False, True, True)
    with storage.database.reading() as session:
        (event,) = audit.list_events(session, action="user.ended_sessions")
        assert (event.actor_id, event.detail) == (ada.user.id, {"count": 1})


def test_all_others_are_ended_at_once(app: Flask, ada: Person, bob: Person) -> None:
    others = [sign_in(app, ada, agent) for agent in (PHONE, FIREFOX)]
    ada.browser.post("/account/sessions/end-others")
    assert "2 browsers are signed out" in ada.browser.get("/account/access").text
    assert [signed_in(browser) for browser in (*others, ada.browser, bob.browser)] == [False, False, True, True]


def test_anothers_browser_is_not_there(app: Flask, ada: Person, bob: Person) -> None:
    sign_in(app, ada, PHONE)
    (session_id,) = END.findall(ada.browser.get("/account/access").text)
    for wrong in (session_id, "", "%", session_id[:8], "0" * 16):
        assert bob.browser.post(f"/account/sessions/{wrong}/end").status_code in (404, 405)
    assert len(END.findall(ada.browser.get("/account/access").text)) == 1


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (FIREFOX, "Firefox on Linux"),
        (PHONE, "Safari on an iPhone"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"),
        ("Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36", "Chrome on Android"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X)", "A browser on a Mac"),
        ("curl/8.5.0", None),
        ("", None),
    ],
)
def test_a_browser_is_called_by_its_name_and_system(user_agent: str, name: str | None) -> None:
    assert browser_name(user_agent) == name


def test_a_new_password_signs_out_every_other_browser(ada: Person, storage: Storage) -> None:
    other = Browser.of(ada.browser.app)
    other.post("/signin", {"email": ada.user.email, "password": PASSWORD})
    new = "another plum jam"
    assert ada.browser.post("/account/password", {"password": PASSWORD, "new_password": new}).status_code == 302
    assert "is changed" in ada.browser.get("/account/access").text
    assert other.get("/account").status_code == 302
    for password, opens in ((new, True), (PASSWORD, False)):
        with storage.database.session() as session:
            assert (users.verify_password(session, ada.user.email, password) is not None) == opens


@pytest.mark.parametrize(
    ("present", "new", "says"), [("wrong", "another plum jam", "not right"), (PASSWORD, "short", "10")]
)
def test_a_bad_change_of_password_changes_nothing(ada: Person, present: str, new: str, says: str) -> None:
    page = ada.browser.post("/account/password", {"password": present, "new_password": new})
    assert page.status_code == 422
    assert says in page.text
    again = Browser.of(ada.browser.app).post("/signin", {"email": ada.user.email, "password": PASSWORD})
    assert again.status_code == 302
