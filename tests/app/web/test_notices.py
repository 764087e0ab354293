"""Choosing to be told, and seeing what became of it."""

import re

import pytest
from flask import Flask

from app.config import AppConfig
from app.web.factory import create_app
from app.web.notices import KINDS
from storage import deliveries, notices
from storage.notices import Notices
from storage.store import Storage
from tests.app.web.browser import Person, join
from tuning.config import PostConfig

URL = "https://example.org/hooks/idiolect"


def wanted(person: Person) -> Notices:
    with person.storage.database.reading() as session:
        return notices.read(session, person.storage.keys, person.user.id)


def test_both_ways_are_chosen_shown_and_taken_back(ada: Person, bob: Person) -> None:
    assert "whsec_" not in ada.browser.get("/account/notices").text
    done = ada.browser.post("/account/notices", {"by_mail": "1", "webhook_url": f" {URL} "})
    assert done.location == "/account/notices"
    page = ada.browser.get("/account/notices").text
    assert "Saved." in page
    assert f'value="{URL}"' in page
    assert 'name="by_mail" value="1" checked' in page
    webhook = wanted(ada).webhook
    assert webhook is not None
    assert re.search(r'id="secret">(whsec_[^<]+)<', page.replace("&#43;", "+")).group(1) == webhook.secret  # type: ignore[union-attr]
    assert "whsec_" not in bob.browser.get("/account/notices").text
    ada.browser.post("/account/notices", {"webhook_url": ""})
    assert wanted(ada) == Notices()


@pytest.mark.parametrize("url", ["http://example.org/", "https://127.0.0.1/", "https://me:pw@example.org/", "example"])
def test_an_address_that_will_not_do_is_explained_and_stays_in_the_field(ada: Person, url: str) -> None:
    page = ada.browser.post("/account/notices", {"by_mail": "1", "webhook_url": url})
    assert page.status_code == 422
    assert f'value="{url}"' in page.text
    assert 'name="by_mail" value="1" checked' in page.text
    assert wanted(ada) == Notices()


def test_an_address_inside_is_taken_where_that_is_set(storage: Storage) -> None:
    app = create_app(AppConfig(), storage, PostConfig(webhooks_inside="on"))
    ada = join(app, storage, "ada@example.org")
    assert ada.browser.post("/account/notices", {"webhook_url": "http://127.0.0.1:9/"}).status_code == 302


def test_without_a_mail_server_it_is_said(app: Flask, ada: Person, storage: Storage) -> None:
    assert "sends no mail just now" in ada.browser.get("/account/notices").text
    mailing = create_app(AppConfig(), storage, PostConfig(smtp_url="smtps://mail", mail_from="i@example.org"))
    assert "sends no mail" not in join(mailing, storage, "cy@example.org").browser.get("/account/notices").text


@pytest.mark.parametrize(
    ("error", "final", "says"),
    [
        (None, False, "delivered"),
        ("unreachable", False, "nobody answered; it is tried again"),
        ("gone", True, "given up: no longer wanted"),
        ("answered_503", False, "answered 503; it is tried again"),
    ],
)
def test_what_became_of_the_latest_is_shown_to_whom_it_went(
    ada: Person, bob: Person, error: str | None, final: bool, says: str
) -> None:
    with ada.storage.database.session() as session:
        deliveries.add(session, ada.user.id, "password_changed", "mail")
        due = deliveries.claim(session)
        assert due is not None
    assert "on its way" in ada.browser.get("/account/notices").text
    with ada.storage.database.session() as session:
        deliveries.settle(session, due, error, final=final)
    page = ada.browser.get("/account/notices").text
    assert KINDS["password_changed"] in page
    assert says in page
    assert "The latest" not in bob.browser.get("/account/notices").text
