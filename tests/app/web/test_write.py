import json
from collections.abc import Iterator

import pytest
from flask import Flask

from app import auth
from app.config import AppConfig
from app.web.factory import create_app
from storage import base_models, users
from storage.store import Storage
from tests.app.web.browser import Browser, Person, join
from tests.app.web.training import publish
from tests.app.web.upstream import Upstream, serve

WISH = {"column": "mine", "prompt": "Dear all,", "length": "short", "temperature": "0.7", "seed": "5"}


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serve() as running:
        yield running


@pytest.fixture
def web(storage: Storage, upstream: Upstream) -> Flask:
    with storage.database.session() as session:
        base_models.register(
            session, fingerprint="f" * 64, name="tiny-base", num_parameters=1, context_length=256, probe={}
        )
    return create_app(AppConfig(api_url=upstream.url), storage)


@pytest.fixture
def writer(web: Flask, storage: Storage) -> Person:
    return join(web, storage, "writer@example.org")


def wish(person: Person, **changes: str) -> dict[str, str]:
    return {**WISH, "voice_id": person.voice.id, **changes}


def test_before_training_the_voice_column_says_so_and_asks_for_nothing(writer: Person) -> None:
    page = writer.browser.get(f"{writer.url}/write").text
    assert "never shown as yours" in page
    assert page.count("data-column=") == 1
    assert 'data-column="base"' in page


def test_with_a_version_there_are_two_columns(writer: Person) -> None:
    publish(writer)
    page = writer.browser.get(f"{writer.url}/write").text
    assert page.count("data-column=") == 2
    assert "version 1 in use" in page
    assert "tiny-base" in page


def test_a_voice_that_is_switched_off_is_not_offered(writer: Person) -> None:
    publish(writer)
    writer.browser.post(f"{writer.url}/versions/use", {"version": ""})
    assert 'data-column="mine"' not in writer.browser.get(f"{writer.url}/write").text


@pytest.mark.parametrize(("column", "model"), [("base", "tiny-base"), ("mine", None)])
def test_each_column_is_asked_of_its_own_model_and_streams_back(
    writer: Person, upstream: Upstream, column: str, model: str | None
) -> None:
    answer = writer.browser.post("/write/stream", wish(writer, column=column))
    assert answer.status_code == 200
    assert "Dear " in answer.text
    assert answer.text.endswith("data: [DONE]\n\n")
    assert answer.headers["x-idiolect-version"] == "3"
    assert json.loads(upstream.seen[0].body) == {
        "model": model or writer.voice.id,
        "prompt": "Dear all,",
        "max_tokens": 40,
        "temperature": 0.7,
        "seed": 5,
        "stream": True,
    }


def test_the_api_is_reached_with_a_short_token_that_proves_who_is_signed_in(
    writer: Person, upstream: Upstream, storage: Storage
) -> None:
    writer.browser.post("/write/stream", wish(writer))
    bearer = upstream.seen[0].headers["authorization"]
    caller = auth.authenticate(storage, bearer)
    assert caller is not None
    assert (caller.user_id, caller.kind) == (writer.user.id, "gateway")
    assert "cookie" not in upstream.seen[0].headers
    writer.browser.post("/signout")
    assert auth.authenticate(storage, bearer) is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"prompt": " \n"}, "a few words to begin"),
        ({"prompt": "x" * 20_001}, "20,001"),
        ({"length": "endless"}, "short, medium or long"),
        ({"temperature": "9"}, "from 0 to 2"),
        ({"column": "theirs"}, "base or mine"),
    ],
)
def test_a_bad_wish_is_answered_with_a_sentence(
    writer: Person, upstream: Upstream, changes: dict[str, str], says: str
) -> None:
    answer = writer.browser.post("/write/stream", wish(writer, **changes))
    assert answer.status_code == 400
    assert answer.json is not None
    assert says in answer.json["error"]["message"]
    assert upstream.seen == []


def test_anothers_voice_is_not_there(writer: Person, web: Flask, storage: Storage, upstream: Upstream) -> None:
    other = join(web, storage, "other@example.org")
    answer = writer.browser.post("/write/stream", wish(other))
    assert answer.status_code == 404
    assert answer.json is not None
    assert upstream.seen == []


def test_a_page_without_a_form_token_streams_nothing(writer: Person, upstream: Upstream) -> None:
    answer = writer.browser.client.post("/write/stream", data=wish(writer))
    assert answer.status_code == 400
    assert answer.json is not None
    assert "stale" in answer.json["error"]["message"]
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
    answer = writer.browser.client.post("/write/stream", data=data)
    assert answer.status_code == 401
    assert answer.json is not None
    assert "signed out" in answer.json["error"]["message"]


def test_a_platform_without_a_base_model_says_so(ada: Person) -> None:
    answer = ada.browser.post("/write/stream", wish(ada, column="base"))
    assert answer.status_code == 503
    assert "has not started yet" in answer.text


def test_an_api_that_is_down_is_said_in_the_column(ada: Person) -> None:
    answer = ada.browser.post("/write/stream", wish(ada))
    assert answer.status_code == 503
    assert "not answering" in answer.text


def test_strangers_are_sent_to_sign_in(web: Flask, writer: Person) -> None:
    assert Browser.of(web).get(f"{writer.url}/write").status_code == 302
