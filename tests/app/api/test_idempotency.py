"""Idempotency keys over HTTP: on every route that makes something, once means once."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest
from sqlalchemy import text

from app.api import fine_tuning
from app.api.factory import build
from app.api.idempotency import idempotent, is_idempotent
from app.api.schemas import NewVoice
from app.api.services import Services
from app.config import AppConfig
from storage.store import Storage
from storage.training_file import read_training_file
from tests.app.api.people import Api, Person, with_key, write_samples
from tests.app.api.test_errors import error_of
from tests.app.api.test_files import DATA
from tests.factories import SAMPLE_TEXTS

ClientOf = Callable[[str], openai.OpenAI]
KEY = "8e03978e-40d5-43dd-bc93-6894a57f9324"
TEXT = SAMPLE_TEXTS[0]
MAKES_NOTHING = {  # POSTs that are the same done twice, or that keep nothing
    "completions.create_completion",
    "chat.create_chat_completion",
    "voices.use_version",
    "fine_tuning.cancel_job",
    "fine_tuning.pause_job",
    "fine_tuning.resume_job",
    "tuning_runs.cancel_run",
    "tuning_runs.pause_run",
    "tuning_runs.resume_run",
}


def post(api: Api, person: Person, path: str, body: Any = None, key: str | None = KEY, **options: Any) -> Any:
    headers = person.headers | ({} if key is None else {"Idempotency-Key": key})
    if body is not None:
        options["json"] = body
    return api.client().post(path, headers=headers, **options)


def upload(api: Api, person: Person, data: bytes = DATA, name: str = "mine.jsonl", key: str = KEY) -> Any:
    """Every upload has a boundary of its own."""
    sent = httpx.Request("POST", "http://test", data={"purpose": "fine-tune"}, files={"file": (name, data)})
    return post(api, person, "/v1/files", key=key, data=sent.read(), content_type=sent.headers["Content-Type"])


def rows(storage: Storage, person: Person) -> dict[str, int]:
    with storage.database.reading() as session:
        return {
            table: session.execute(
                text(f"SELECT count(*) FROM {table} WHERE user_id = :id"), {"id": person.user_id}
            ).scalar_one()
            for table in ("voices", "writing_samples", "uploads", "tuning_runs", "idempotency_keys")
        }


def test_every_post_takes_keys_or_makes_nothing(api: Api) -> None:
    posts = {rule.endpoint for rule in api.app.url_map.iter_rules() if "POST" in (rule.methods or ())}
    taking = {endpoint for endpoint in posts if is_idempotent(api.app.view_functions[endpoint])}
    assert posts - taking == MAKES_NOTHING
    document = api.client().get("/v1/openapi.json").json
    documented = [
        operation["operationId"]
        for methods in document["paths"].values()
        for operation in methods.values()
        if any(parameter["name"] == "Idempotency-Key" for parameter in operation["parameters"])
    ]
    assert len(documented) == len(taking)


Make = Callable[[Api, Person, str, bool], Any]


def make_job(api: Api, person: Person, key: str, other: bool) -> Any:
    file = upload(api, person, key="the file").json["id"]
    fields = {"suffix": "Diary"} if other else {}
    return post(api, person, "/v1/fine_tuning/jobs", {"training_file": file, "model": api.base.name, **fields}, key)


def make_run(api: Api, person: Person, key: str, other: bool) -> Any:
    if not rows(api.storage, person)["writing_samples"]:
        write_samples(api.storage, person)
    return post(api, person, f"/v1/voices/{person.voice_id}/tuning_runs", {"seed": int(other)}, key)


MAKES: dict[str, tuple[Make, str]] = {
    "file": (lambda api, who, key, other: upload(api, who, DATA + b" " * other, key=key), "uploads"),
    "file's name": (
        lambda api, who, key, other: upload(api, who, name="his.jsonl" if other else "mine.jsonl", key=key),
        "uploads",
    ),
    "voice": (
        lambda api, who, key, other: post(api, who, "/v1/voices", {"name": "Diary" if other else "Letters"}, key),
        "voices",
    ),
    "sample": (
        lambda api, who, key, other: post(
            api, who, f"/v1/voices/{who.voice_id}/samples", {"text": TEXT, "title": "Other" if other else None}, key
        ),
        "writing_samples",
    ),
    "job": (make_job, "tuning_runs"),
    "run": (make_run, "tuning_runs"),
}


@pytest.mark.parametrize("kind", MAKES)
def test_the_same_again_is_the_first_answer_again_and_makes_nothing(
    api: Api, ann: Person, ben: Person, kind: str
) -> None:
    make, table = MAKES[kind]
    first = make(api, ann, KEY, False)
    assert first.status_code < 300
    assert "Idempotent-Replayed" not in first.headers
    made = rows(api.storage, ann)[table]
    if kind in ("job", "run"):  # the answer is the first one, whatever has become of the run meanwhile
        api.call(ann, "POST", f"/v1/tuning_runs/{first.json['id']}/cancel")
    for key in (KEY, f'"{KEY}"'):
        again = make(api, ann, key, False)
        assert (again.status_code, again.json) == (first.status_code, first.json)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.mimetype == "application/json"
    other = make(api, ann, KEY, True)
    assert error_of(other, 422)["code"] == "idempotency_key_reused"
    assert other.headers["x-should-retry"] == "false"
    assert rows(api.storage, ann)[table] == made
    strangers = make(api, ben, KEY, False)
    assert strangers.status_code == first.status_code
    assert "Idempotent-Replayed" not in strangers.headers
    assert strangers.json["id"] != first.json["id"]


def test_a_key_counts_for_the_whole_account_and_for_one_url(api: Api, ann: Person) -> None:
    first = post(api, ann, "/v1/voices", {"name": "Letters"})
    other_key = with_key(api.storage, ann, "samples", "tuning")
    assert post(api, other_key, "/v1/voices", {"name": "Letters"}).json == first.json
    error_of(post(api, ann, f"/v1/voices/{ann.voice_id}/samples", {"text": TEXT}), 422)


def test_without_a_key_nothing_is_remembered(api: Api, ann: Person) -> None:
    assert post(api, ann, "/v1/voices", {"name": "Letters"}, key=None).status_code == 201
    error_of(post(api, ann, "/v1/voices", {"name": "Letters"}, key=None), 409)
    assert rows(api.storage, ann)["idempotency_keys"] == 0


def test_what_was_refused_may_be_tried_again_with_the_same_key(api: Api, ann: Person) -> None:
    error_of(post(api, ann, "/v1/voices", {"name": "My voice"}), 409)
    error_of(post(api, ann, "/v1/voices", {"nom": "Letters"}), 400)
    error_of(post(api, ann, "/v1/voices/voice-unknown/samples", {"text": TEXT}), 404)
    assert rows(api.storage, ann)["idempotency_keys"] == 0
    assert post(api, ann, "/v1/voices", {"name": "Letters"}).status_code == 201


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "kéy", "a\tb"])
def test_a_key_that_is_none_is_refused(api: Api, ann: Person, key: str) -> None:
    error = error_of(post(api, ann, "/v1/voices", {"name": "Letters"}, key), 400)
    assert error["param"] == "Idempotency-Key"
    assert rows(api.storage, ann)["voices"] == 1


def test_while_the_first_is_at_work_the_second_is_told_to_wait(
    api: Api, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work, may_go_on = threading.Event(), threading.Event()

    def slowly(data: bytes) -> Any:
        at_work.set()
        assert may_go_on.wait(20)
        return read_training_file(data)

    body = {"training_file": upload(api, ann, key="the file").json["id"], "model": api.base.name}
    monkeypatch.setattr(fine_tuning, "read_training_file", slowly)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, api, ann, "/v1/fine_tuning/jobs", body)
        assert at_work.wait(20)
        waiting = post(api, ann, "/v1/fine_tuning/jobs", body)
        error_of(post(api, ann, "/v1/fine_tuning/jobs", body | {"seed": 7}), 422)
        may_go_on.set()
        made = first.result(20)
    assert error_of(waiting, 409)["code"] == "idempotency_key_in_use"
    assert waiting.headers["Retry-After"] == "1"
    assert "x-should-retry" not in waiting.headers, "the official client asks again by itself"
    again = post(api, ann, "/v1/fine_tuning/jobs", body)
    assert (again.json, again.headers["Idempotent-Replayed"]) == (made.json, "true")
    assert rows(api.storage, ann)["tuning_runs"] == 1


def test_the_official_client_sends_a_key_where_it_is_told_to(api: Api, client_of: ClientOf, ann: Person) -> None:
    client = client_of(ann.key)
    once = {"Idempotency-Key": KEY}
    kept = [
        client.files.with_raw_response.create(file=("mine.jsonl", DATA), purpose="fine-tune", extra_headers=once)
        for _ in range(2)
    ]
    assert kept[0].parse() == kept[1].parse()
    assert [answer.headers.get("Idempotent-Replayed") for answer in kept] == [None, "true"]
    with pytest.raises(openai.UnprocessableEntityError):
        client.files.create(file=("other.jsonl", DATA), purpose="fine-tune", extra_headers=once)


def test_completions_keep_nothing_of_a_key(api: Api, ann: Person) -> None:
    body = {"model": api.base.name, "prompt": "My day", "max_tokens": 2}
    for _ in range(2):
        answer = post(api, ann, "/v1/completions", body)
        assert answer.status_code == 200
        assert "Idempotent-Replayed" not in answer.headers
    assert rows(api.storage, ann)["idempotency_keys"] == 0


def test_a_view_that_keeps_no_answer_is_a_fault_of_ours(api: Api, ann: Person) -> None:
    app = build(Services(AppConfig(), api.storage, api.base, api.engine))

    @idempotent
    def forgetful(body: NewVoice) -> str:
        return body.name

    app.add_url_rule("/v1/new", "voices.new", lambda: forgetful(body=NewVoice(name="Letters")), methods=["POST"])
    assert app.test_client().post("/v1/new", headers=ann.headers).status_code == 200
    answer = app.test_client().post("/v1/new", headers=ann.headers | {"Idempotency-Key": KEY})
    assert error_of(answer, 500)["code"] == "internal_error"
