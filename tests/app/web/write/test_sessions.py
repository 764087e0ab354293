"""Others' things, form tokens, and who was signed out meanwhile."""

import re

from flask import Flask

from storage import users, web_sessions
from storage.store import Storage
from tests.app.web.browser import TEXT, Browser, Person, join
from tests.app.web.upstream import Upstream
from tests.app.web.write.wishes import begin_trial, complaint, kept, wish


def test_anothers_voice_and_trial_are_not_there(
    old_hand: Person, web: Flask, storage: Storage, upstream: Upstream
) -> None:
    trial, stranger = begin_trial(old_hand), join(web, storage, "other@example.org").browser
    for answer in (
        stranger.post("/write/stream", wish(old_hand)),
        stranger.post("/write/stream", wish(old_hand, column="first", trial=trial)),
        stranger.post("/write/trials", {"voice_id": old_hand.voice.id}),
        stranger.post(f"/write/trials/{trial}/choice", {"side": "first"}),
    ):
        assert answer.status_code == 404
        assert "nothing here" in complaint(answer)
    for answer in (
        stranger.post(f"{old_hand.url}/write", {"text": "Mine."}),
        stranger.post(f"{old_hand.url}/write/keep"),
    ):
        assert answer.status_code == 404
    assert upstream.seen == []
    assert kept(old_hand, trial).choice is None


def test_a_page_without_a_form_token_streams_nothing(writer: Person, upstream: Upstream) -> None:
    answer = writer.browser.client.post("/write/stream", data=wish(writer))
    assert answer.status_code == 400
    assert "stale" in complaint(answer)
    assert upstream.seen == []


def test_the_token_may_come_in_a_header(writer: Person) -> None:
    answer = writer.browser.client.post(
        "/write/stream", data=wish(writer), headers={"X-CSRFToken": writer.browser.token()}
    )
    assert answer.status_code == 200


def test_a_script_of_somebody_signed_out_is_told_so(writer: Person, storage: Storage) -> None:
    data = {**wish(writer), "csrf_token": writer.browser.token()}
    with storage.database.session() as session:
        users.set_state(session, writer.user.id, "suspended")
    for path in ("/write/stream", "/write/trials", "/write/trials/trial-x/choice", "/write/changes"):
        answer = writer.browser.client.post(path, data=data)
        assert answer.status_code == 401
        assert "signed out" in complaint(answer)


def test_who_keeps_a_text_by_script_while_signed_out_is_told_so_and_others_see_a_page(
    writer: Person, storage: Storage
) -> None:
    token = writer.browser.token()
    with storage.database.session() as session:
        web_sessions.end_all(session, writer.user.id)
    keep = f"{writer.url}/write/keep"
    by_script = writer.browser.client.post(keep, data={"text": TEXT}, headers={"X-CSRFToken": token})
    assert by_script.status_code == 401
    assert "your text is still here" in complaint(by_script)
    by_hand = writer.browser.client.post(keep, data={"text": TEXT, "csrf_token": token})
    assert by_hand.status_code == 401
    assert by_hand.mimetype == "text/html"


def test_a_form_token_is_renewed_for_whoever_opened_the_page_and_for_nobody_else(
    writer: Person, bob: Person, browser: Browser
) -> None:
    page = writer.browser.get(f"{writer.url}/write").text
    (path,) = re.findall(r'data-token="([^"]+)"', page)
    given = writer.browser.get(path)
    assert given.headers["Cache-Control"] == "no-store"
    assert given.json is not None
    form = {**wish(writer), "csrf_token": given.json["token"]}
    assert writer.browser.client.post("/write/stream", data=form).status_code == 200
    for other, status in ((bob.browser, 403), (browser, 401)):
        refused = other.get(path)
        assert refused.status_code == status
        assert "your text is still here" in complaint(refused)
    assert writer.browser.get("/write/token").status_code == 403


def test_a_stale_form_is_known_to_a_script_by_its_code(writer: Person) -> None:
    for path in ("/write/stream", f"{writer.url}/write/keep"):
        answer = writer.browser.client.post(path, data={"text": TEXT}, headers={"X-CSRFToken": "old"})
        assert answer.status_code == 400
        assert answer.json is not None
        assert answer.json["error"]["code"] == "stale_form"
