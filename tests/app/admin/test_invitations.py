"""An owner makes accounts for others, and sign-up can be closed to everybody else."""

import re
from dataclasses import replace

import pytest
from flask import Flask

from app.config import AppConfig
from app.errors import ConfigurationError
from app.web.factory import create_app
from storage import audit, clock, password_links, users
from storage.store import Storage
from tests.app.web.browser import PASSWORD, TOKEN, Browser, Person, join

CLOSED = AppConfig(api_url="http://127.0.0.1:1", sign_up="closed")


@pytest.fixture
def closed(storage: Storage) -> Flask:
    return create_app(CLOSED, storage)


def link_on(page: str) -> str:
    found = re.search(r"/password/new\?token=[\w-]+", page)
    assert found
    return found.group()


def test_an_owner_invites_somebody_who_chooses_a_password_and_is_in(closed: Flask, storage: Storage) -> None:
    chief = join(closed, storage, "chief@example.org", role="admin")
    page = chief.browser.post("/admin/users/new/account", {"address": " Dora@Example.org"})
    assert page.status_code == 200
    assert "An account for dora@example.org" in page.text
    browser, link = Browser.of(closed), link_on(page.text)
    assert "Choose a password" in browser.get(link).text
    token = link.partition("token=")[2]
    assert browser.post("/password/new", {"token": token, "password": "short"}).status_code == 422
    assert browser.post("/password/new", {"token": token, "password": PASSWORD}).status_code == 302
    assert "Your password is chosen" in browser.get("/signin").text
    assert browser.post("/signin", {"email": "dora@example.org", "password": PASSWORD}).status_code == 302
    assert "My voice" in browser.get("/voices").text
    assert browser.get(link).status_code == 404
    with storage.database.session() as session:
        dora = users.find_by_email(session, "dora@example.org")
        assert dora is not None
        made = audit.list_events(session, action="user.signed_up", subject_id=dora.id)
        assert [event.actor_id for event in made] == [chief.user.id]


def test_an_address_that_will_not_do_or_is_taken_is_explained_and_given_back(
    chief: Person, ada: Person, storage: Storage
) -> None:
    for address, why in (("nowhere", "e-mail address"), (ada.user.email, "already an account with this address")):
        page = chief.browser.post("/admin/users/new/account", {"address": address})
        assert page.status_code == 422
        assert why in page.text
        assert f'value="{address}"' in page.text
    with storage.database.session() as session:
        assert len(users.list_users(session)) == 2


def test_only_an_owner_invites(operator: Person, auditor: Person, ada: Person, storage: Storage) -> None:
    for person, status in ((operator, 403), (auditor, 403), (ada, 404)):
        asked = person.browser.post("/admin/users/new/account", {"address": "dora@example.org"})
        assert asked.status_code == status
    assert "Make an account" not in operator.browser.get("/admin/users").text
    with storage.database.session() as session:
        assert users.find_by_email(session, "dora@example.org") is None


def test_an_old_invitation_leads_nowhere_and_another_can_be_made(
    chief: Person, app: Flask, monkeypatch: pytest.MonkeyPatch, storage: Storage
) -> None:
    link = link_on(chief.browser.post("/admin/users/new/account", {"address": "dora@example.org"}).text)
    later = clock.now() + password_links.BY_HAND_S + 1
    with storage.database.session() as session:
        dora = users.find_by_email(session, "dora@example.org")
    assert dora is not None
    monkeypatch.setattr(clock, "now", lambda: later)
    assert Browser.of(app).get(link).status_code == 404
    again = link_on(chief.browser.post(f"/admin/users/{dora.id}/password-link").text)
    assert "Choose a password" in Browser.of(app).get(again).text


def test_who_has_not_chosen_a_password_yet_gets_no_role(chief: Person, app: Flask, storage: Storage) -> None:
    link = link_on(chief.browser.post("/admin/users/new/account", {"address": "dora@example.org"}).text)
    with storage.database.session() as session:
        dora = users.find_by_email(session, "dora@example.org")
    assert dora is not None
    page = f"/admin/users/{dora.id}"
    assert "has not chosen a password yet" in chief.browser.get(page).text
    chief.browser.post(f"{page}/role", {"role": "owner"})
    assert "has not chosen a password yet: nothing was changed" in chief.browser.get(page).text
    browser = Browser.of(app)
    assert (
        browser.post("/password/new", {"token": link.partition("token=")[2], "password": PASSWORD}).status_code == 302
    )
    assert "has not chosen a password yet" not in chief.browser.get(page).text
    chief.browser.post(f"{page}/role", {"role": "owner"})
    with storage.database.session() as session:
        assert users.get_user(session, dora.id).console == "owner"


def test_an_invitation_is_no_warning_to_whom_it_invited(chief: Person, app: Flask, storage: Storage) -> None:
    link = link_on(chief.browser.post("/admin/users/new/account", {"address": "dora@example.org"}).text)
    browser = Browser.of(app)
    browser.post("/password/new", {"token": link.partition("token=")[2], "password": PASSWORD})
    browser.post("/signin", {"email": "dora@example.org", "password": PASSWORD})
    assert "An administrator made a link" not in browser.get("/account").text
    with storage.database.session() as session:
        dora = users.find_by_email(session, "dora@example.org")
        assert dora is not None
        assert password_links.list_handed(session, dora.id) == []
    chief.browser.post(f"/admin/users/{dora.id}/password-link")
    assert "An administrator made a link" in browser.get("/account").text


def test_closed_sign_up_is_offered_nowhere_and_refused(closed: Flask, storage: Storage) -> None:
    browser = Browser.of(closed)
    for path in ("/", "/signin"):
        assert "Sign up" not in browser.get(path).text
        assert "example pieces" not in browser.get(path).text
    told = browser.get("/signup")
    assert told.status_code == 403
    assert "Ask them for one" in told.text
    assert browser.post("/signup", {"email": "eve@example.org", "password": PASSWORD}).status_code == 403
    assert browser.post("/guest").status_code == 403
    wrong = browser.post("/signin", {"email": "eve@example.org", "password": PASSWORD})
    assert wrong.status_code == 401
    assert "sign up" not in wrong.text
    with storage.database.session() as session:
        assert users.list_users(session) == []


def test_a_guest_from_before_it_was_closed_keeps_nothing(app: Flask, closed: Flask, storage: Storage) -> None:
    browser = Browser.of(app)
    voice = str(browser.post("/guest").headers["Location"])
    browser.client.application = closed
    page = browser.get(voice).text
    assert "You are here as a guest" in page
    assert "/guest/keep" not in page
    token = TOKEN.search(page)
    assert token
    kept = {"email": "eve@example.org", "password": PASSWORD, "csrf_token": token.group(1)}
    assert browser.client.post("/guest/keep", data=kept).status_code == 403
    with storage.database.session() as session:
        assert users.find_by_email(session, "eve@example.org") is None


def test_a_setting_that_is_neither_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="IDIOLECT_SIGN_UP must be open or closed"):
        replace(CLOSED, sign_up="shut")
    assert AppConfig.from_env({"IDIOLECT_SIGN_UP": "closed"}).sign_up == "closed"
