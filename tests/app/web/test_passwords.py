"""Losing a password, and coming back in by a letter or by an administrator's link."""

import re
from collections.abc import Iterator

import pytest
from flask import Flask

from app.config import AppConfig
from app.web import throttle
from app.web.factory import create_app
from app.web.notices import KINDS
from storage import audit, password_links, users
from storage.store import Storage
from tests.app.web.browser import PASSWORD, Browser, Person, join
from tests.mailbox import Mailbox, running_mailbox
from tuning.config import PostConfig
from tuning.postman import Postman

NEW = "another plum jam"
HERE = "http://localhost"


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with running_mailbox() as running:
        yield running


@pytest.fixture
def post(box: Mailbox) -> PostConfig:
    return PostConfig(smtp_url=f"smtp+plain://127.0.0.1:{box.port}", mail_from="i@example.org", public_url=HERE)


@pytest.fixture
def mailing(storage: Storage, post: PostConfig) -> Flask:
    """A web role whose platform sends mail."""
    return create_app(AppConfig(public_url=HERE), storage, post)


def link_in(letter: object) -> str:
    found = re.search(r"http://localhost(/password/new\?token=\S+)", str(letter))
    assert found
    return found.group(1)


def token_of(link: str) -> str:
    return link.partition("token=")[2]


def test_a_letter_leads_back_in_and_everybody_else_is_signed_out(
    mailing: Flask, storage: Storage, post: PostConfig, box: Mailbox
) -> None:
    ada, stranger = join(mailing, storage, "ada@example.org"), Browser.of(mailing)
    assert "/password/forgotten" in stranger.get("/signin").text
    assert "on its way" in stranger.post("/password/forgotten", {"email": "Ada@example.org"}).text
    Postman(storage, post).carry()
    link = link_in(box.letters[0].get_content())
    assert "ada@example.org" in stranger.get(link).text
    done = stranger.post("/password/new", {"token": token_of(link), "password": NEW})
    assert done.location == "/signin"
    assert "is changed" in stranger.get("/signin").text
    assert ada.browser.get("/account").status_code == 302
    for password, status in ((PASSWORD, 401), (NEW, 302)):
        assert stranger.post("/signin", {"email": "ada@example.org", "password": password}).status_code == status
    assert Browser.of(mailing).get(link).status_code == 404
    Postman(storage, post).carry()
    assert [letter["Subject"] for letter in box.letters] == ["Choose a new password", "Your password was changed"]


def test_a_known_and_an_unknown_address_get_the_very_same_answer(
    mailing: Flask, storage: Storage, post: PostConfig, box: Mailbox
) -> None:
    join(mailing, storage, "ada@example.org")
    browser = Browser.of(mailing)
    known, unknown = (browser.post("/password/forgotten", {"email": f"{name}@example.org"}) for name in ("ada", "eve"))
    assert known.status_code == unknown.status_code == 200
    assert known.text == unknown.text.replace("eve@", "ada@")
    Postman(storage, post).carry()
    assert [letter["To"] for letter in box.letters] == ["ada@example.org"]


def test_a_password_that_will_not_do_is_explained_and_the_link_stays_good(mailing: Flask, storage: Storage) -> None:
    ada, browser = join(mailing, storage, "ada@example.org"), Browser.of(mailing)
    with storage.database.session() as session:
        token = password_links.make_link(session, ada.user.id, actor_id=None, lifetime_s=60)
    page = browser.post("/password/new", {"token": token, "password": "short"})
    assert page.status_code == 422
    assert 'role="alert"' in page.text
    assert browser.post("/password/new", {"token": token, "password": NEW}).status_code == 302


@pytest.mark.parametrize("token", ["", "nonsense", "é"])
def test_a_wrong_link_leads_nowhere(browser: Browser, token: str) -> None:
    assert browser.get(f"/password/new?token={token}").status_code == 404
    page = browser.post("/password/new", {"token": token, "password": NEW})
    assert page.status_code == 404
    assert "leads nowhere" in page.text


def test_without_a_mail_server_the_page_says_whom_to_ask_and_promises_nothing(browser: Browser, ada: Person) -> None:
    for page in (browser.get("/password/forgotten"), browser.post("/password/forgotten", {"email": ada.user.email})):
        assert "administrator" in page.text
        assert "on its way" not in page.text


def test_asking_is_slowed_down(storage: Storage, post: PostConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "LINKS_ASKED_FOR", "2 per hour")
    browser = Browser.of(create_app(AppConfig(), storage, post))
    tries = [browser.post("/password/forgotten", {"email": f"{n}@example.org"}).status_code for n in range(3)]
    assert tries == [200, 200, 429]


def test_an_administrator_makes_a_link_that_is_shown_once_and_recorded(
    app: Flask, storage: Storage, ada: Person
) -> None:
    chief = join(app, storage, "chief@example.org", role="admin")
    page = chief.browser.post(f"/admin/users/{ada.user.id}/password-link")
    assert page.headers["Cache-Control"] == "no-store"
    found = re.search(r'id="link">http://127\.0\.0\.1:8000(/password/new\?token=[^<]+)<', page.text)
    assert found
    assert token_of(found.group(1)) not in chief.browser.get(f"/admin/users/{ada.user.id}").text
    done = Browser.of(app).post("/password/new", {"token": token_of(found.group(1)), "password": NEW})
    assert done.status_code == 302
    with storage.database.session() as session:
        (made,) = audit.list_events(session, action="user.password_link_made")
        assert (made.actor_id, made.subject_id) == (chief.user.id, ada.user.id)
        assert users.verify_password(session, ada.user.email, NEW) is not None


def test_a_link_that_an_administrator_makes_is_told_by_mail_without_the_link(
    mailing: Flask, storage: Storage, post: PostConfig, box: Mailbox
) -> None:
    ada, chief = join(mailing, storage, "ada@example.org"), join(mailing, storage, "chief@example.org", role="admin")
    page = chief.browser.post(f"/admin/users/{ada.user.id}/password-link").text
    assert Postman(storage, post).carry() == 1
    (letter,) = box.letters
    assert letter["To"] == ada.user.email
    assert f"{HERE}/account/readings" in letter.get_content()
    found = re.search(r"token=([\w-]+)", page)
    assert found
    assert found[1] not in letter.get_content()
    assert KINDS["password_link_made"] in ada.browser.get("/account/notices").text


def test_nobody_makes_a_link_into_an_administrators_account_or_a_suspended_one(
    app: Flask, storage: Storage, ada: Person, bob: Person
) -> None:
    chief, other = (join(app, storage, f"{name}@example.org", role="admin") for name in ("chief", "other"))
    with storage.database.session() as session:
        users.set_state(session, ada.user.id, "suspended")
    for person in (other, chief, ada):
        page = chief.browser.post(f"/admin/users/{person.user.id}/password-link")
        assert page.status_code == 409
        assert "token=" not in page.text
    assert bob.browser.post(f"/admin/users/{bob.user.id}/password-link").status_code == 404
    with storage.database.session() as session:
        assert audit.list_events(session, action="user.password_link_made") == []
