import re

import pytest
from flask import Flask

from app.admin import gate
from storage.models import ConsoleRole
from tests.app.web.browser import Browser, Person

ARGUMENTS = {
    "user_id": "user-x",
    "run_id": "run-x",
    "key_id": "key-x",
    "filename": "admin.css",
    "name": "celery@x",
    "form": "csv",
}


# What each page and action takes. A new one has to be added here by hand, so that nobody gains a power unseen.
LEAST: dict[str, ConsoleRole] = {
    "static": "auditor",
    "overview.show": "auditor",
    "users.index": "auditor",
    "users.show": "auditor",
    "users.suspend": "operator",
    "users.unsuspend": "operator",
    "users.revoke_key": "operator",
    "users.set_role": "owner",
    "users.make_password_link": "owner",
    "users.erase": "owner",
    "users.invite": "owner",
    "quotas.edit": "owner",
    "quotas.change": "owner",
    "reading.choose": "owner",
    "reading.read": "owner",
    "runs.index": "auditor",
    "runs.show": "auditor",
    "runs.cancel": "operator",
    "runs.retry": "operator",
    "runs.rescue": "operator",
    "failures.index": "auditor",
    "workers.index": "auditor",
    "workers.forget": "operator",
    "workers.begin_maintenance": "operator",
    "workers.end_maintenance": "operator",
    "cache.show": "auditor",
    "cache.evict": "operator",
    "keys.index": "auditor",
    "space.index": "auditor",
    "usage.index": "auditor",
    "base_models.index": "auditor",
    "base_models.retrain": "operator",
    "audit.index": "auditor",
    "audit.export": "auditor",
}


def endpoints(app: Flask) -> list[tuple[str, str, str]]:
    """Every (endpoint, method, path) of the console, with made-up ids."""
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint.partition(".")[0] == "admin"]
    found = []
    for rule in rules:
        path = re.sub(r"<(?:\w+:)?(\w+)>", lambda part: ARGUMENTS[part.group(1)], rule.rule)
        methods = sorted({"GET", "POST"} & (rule.methods or set()))
        found += [(rule.endpoint.removeprefix("admin."), method, path) for method in methods]
    return found


def routes(app: Flask) -> list[tuple[str, str]]:
    """Every (method, path) of the console."""
    return [(method, path) for _, method, path in endpoints(app)]


@pytest.mark.parametrize("role", gate.ROLES)
def test_every_page_and_action_takes_the_role_that_is_written_down(
    app: Flask, role: ConsoleRole, request: pytest.FixtureRequest
) -> None:
    assert {endpoint for endpoint, _, _ in endpoints(app)} == set(LEAST)
    person: Person = request.getfixturevalue("chief" if role == "owner" else role)
    token = {"csrf_token": person.browser.token()}
    for endpoint, method, path in endpoints(app):
        with person.browser.client.open(path, method=method, data=token if method == "POST" else None) as answer:
            is_allowed = gate.ROLES.index(role) >= gate.ROLES.index(LEAST[endpoint])
            assert (answer.status_code != 403) == is_allowed, f"{method} {path} as {role}: {answer.status_code}"


def test_a_view_that_says_nothing_is_nobodys(app: Flask, chief: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    view = app.view_functions["admin.overview.show"]
    monkeypatch.delattr(view, "console_role")
    assert chief.browser.get("/admin/").status_code == 403


def test_whose_role_is_too_small_is_told_whose_it_takes(auditor: Person, ada: Person) -> None:
    answer = auditor.browser.post(f"/admin/users/{ada.user.id}/erase", {"address": ada.user.email})
    assert answer.status_code == 403
    assert "Nothing was changed" in answer.text
    assert "This takes an owner" in answer.text
    assert "looks at everything and changes nothing" in answer.text
    assert ada.browser.get("/account").status_code == 200


def test_every_page_and_action_is_a_404_for_a_writer(app: Flask, ada: Person) -> None:
    assert len(routes(app)) >= 15
    token = {"csrf_token": ada.browser.token()}
    for method, path in routes(app):
        answer = ada.browser.client.open(path, method=method, data=token if method == "POST" else None)
        assert answer.status_code == 404, f"{method} {path}"


def test_a_writer_and_a_wrong_address_are_answered_alike(ada: Person) -> None:
    hidden, missing = ada.browser.get("/admin/users"), ada.browser.get("/admin/no-such-page")
    assert hidden.status_code == missing.status_code == 404
    token = re.compile(r'csrf-token" content="[^"]+"|csrf_token" value="[^"]+"')
    assert token.sub("", hidden.text) == token.sub("", missing.text)


def test_a_stranger_is_asked_to_sign_in_and_sees_nothing(app: Flask) -> None:
    stranger = Browser.of(app)
    for method, path in routes(app):
        token = {"csrf_token": stranger.token()} if method == "POST" else None
        answer = stranger.client.open(path, method=method, data=token)
        assert answer.status_code == 302, f"{method} {path}"
        assert "/signin" in answer.headers["Location"]


def test_an_administrator_who_is_suspended_or_no_longer_one_is_shut_out(app: Flask, chief: Person) -> None:
    assert chief.browser.get("/admin/").status_code == 200
    with chief.storage.database.session() as session:
        session.merge(chief.user).role = "writer"
    assert chief.browser.get("/admin/").status_code == 404


def test_every_action_needs_the_form_token(app: Flask, chief: Person) -> None:
    actions = [path for method, path in routes(app) if method == "POST"]
    assert actions
    for path in actions:
        assert chief.browser.client.post(path).status_code == 400, path


def test_no_action_works_by_following_a_link(app: Flask, chief: Person) -> None:
    for method, path in routes(app):
        if method == "POST":
            assert chief.browser.get(path).status_code == 405, path


@pytest.mark.parametrize(
    "path", ["/admin/users/user-x", "/admin/runs/run-x", "/admin/users?after=user-x", "/admin/runs?after=run-x"]
)
def test_what_is_not_there_is_a_404(chief: Person, path: str) -> None:
    assert chief.browser.get(path).status_code == 404


def test_pages_are_never_kept_and_the_style_sheet_is(chief: Person) -> None:
    page = chief.browser.get("/admin/")
    assert page.headers["Cache-Control"] == "no-store"
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    address = re.search(r'href="(/admin/static/admin\.css\?v=\w+)"', page.text)
    assert address
    with chief.browser.get(address.group(1)) as sheet:
        assert sheet.mimetype == "text/css"
        assert "immutable" in sheet.headers["Cache-Control"]
