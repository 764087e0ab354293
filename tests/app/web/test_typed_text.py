"""What was typed is given back where nothing else can be done with it."""

import pytest
from sqlalchemy import delete

from storage import voices
from storage.models import WebSession
from storage.store import Storage
from tests.app.web.browser import TEXT, Person

WRITTEN = "It rained, and <b>we</b> drank his tea."
SHOWN = "It rained, and &lt;b&gt;we&lt;/b&gt; drank his tea."
FORMS = (
    ("/samples", "text"),
    ("/samples", "prompt"),
    ("/write", "text"),
    ("/write", "brief"),
    ("/write/keep", "text"),
    ("/samples/sample-x/edit", "text"),
    ("/samples/sample-x/split", "text"),
    ("/samples/sample-x/prompt", "prompt"),
)


def sign_out_elsewhere(storage: Storage) -> None:
    """Everybody; their pages stay as they are."""
    with storage.database.session() as session:
        session.execute(delete(WebSession))


@pytest.mark.parametrize(("path", "field"), FORMS)
def test_what_was_written_is_given_back_when_the_session_has_ended(
    ada: Person, storage: Storage, path: str, field: str
) -> None:
    token, before = ada.browser.token(), ada.num_samples()
    sign_out_elsewhere(storage)
    answer = ada.browser.client.post(f"{ada.url}{path}", data={"csrf_token": token, field: WRITTEN})
    assert answer.status_code == 401
    assert "You are signed out" in answer.text
    assert f"{SHOWN}</textarea>" in answer.text
    assert 'href="/signin" target="_blank"' in answer.text
    assert ada.num_samples() == before


def test_all_that_was_written_in_a_form_is_given_back(ada: Person, storage: Storage) -> None:
    token = ada.browser.token()
    sign_out_elsewhere(storage)
    form = {"csrf_token": token, "text": TEXT, "prompt": "Write about spoons."}
    assert f"{TEXT}\n\nWrite about spoons.</textarea>" in ada.browser.client.post(f"{ada.url}/samples", data=form).text


def test_of_too_large_a_form_nothing_is_read_for_who_is_signed_out(ada: Person, storage: Storage) -> None:
    form = {"csrf_token": ada.browser.token(), "text": "x" * ada.browser.app.config["MAX_CONTENT_LENGTH"]}
    sign_out_elsewhere(storage)
    answer = ada.browser.client.post(f"{ada.url}/samples", data=form)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/signin")


def test_what_was_written_for_a_voice_that_is_gone_is_given_back(ada: Person, storage: Storage) -> None:
    with storage.database.session() as session:
        gone = voices.create_voice(session, ada.user.id, "Gone")
    voices.delete_voice(storage, ada.user.id, gone.id)
    for path in ("write", "write/keep", "samples"):
        answer = ada.browser.post(f"/voices/{gone.id}/{path}", {"text": TEXT})
        assert answer.status_code == 404
        assert f"{TEXT}</textarea>" in answer.text
        assert "/signin" not in answer.text
