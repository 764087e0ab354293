"""Every refusal has OpenAI's shape, a request id, and says what to do."""

import re
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from apiflask import APIFlask
from pydantic import ValidationError

from app.api.chat_schemas import MAX_PARTS, ChatRequest
from app.api.completion_schemas import CompletionRequest
from app.api.factory import build
from app.api.fine_tuning_schemas import NewJob
from app.api.json_numbers import MOST_VALUES
from app.api.schemas import Body
from app.api.services import Services
from app.config import AppConfig
from tests.app.api.people import Api, Person, publish, publish_random
from tests.tiny_model import make_prefix, make_tiny


def error_of(answer: Any, status: int) -> dict[str, Any]:
    """The error of an answer, after a look at all that every error has."""
    assert answer.status_code == status, answer.get_data(as_text=True)
    assert list(answer.json) == ["error"]
    error: dict[str, Any] = answer.json["error"]
    assert set(error) == {"message", "type", "param", "code"}
    kinds = (
        ("server_error",)
        if status >= 500
        else ("requests", "tokens", "insufficient_quota")
        if status == 429
        else ("invalid_request_error",)
    )
    assert error["type"] in kinds
    assert error["code"]
    assert error["message"]
    assert re.fullmatch("req-[a-z2-7]{20}", answer.headers["x-request-id"])
    return error


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/nothing", "/v1/voices/x/y/z", "/v1/embeddings", "/static/x", "/v1//models", "/v1/voices/"]
)
def test_an_unknown_url(api: Api, path: str) -> None:
    assert error_of(api.client().get(path), 404)["code"] == "not_found"


def test_a_method_the_url_does_not_take(api: Api, ann: Person) -> None:
    answer = api.call(ann, "DELETE", "/v1/models")
    assert error_of(answer, 405)["code"] == "method_not_allowed"
    assert "GET" in answer.headers["Allow"]
    error_of(api.client().options("/v1/models"), 405)


def test_a_body_that_is_too_large(api: Api, ann: Person) -> None:
    answer = api.complete(ann, api.base.name, "x" * (1 << 20))
    assert error_of(answer, 413)["code"] == "request_too_large"
    assert str(1 << 20) in answer.json["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]", b"null", b'"text"', b"NaN", b"[" * 100_000])
def test_a_body_that_is_no_json_object(api: Api, ann: Person, body: bytes) -> None:
    error_of(api.call(ann, "POST", "/v1/completions", data=body, content_type="application/json"), 400)


def completion(ids: str, encoding: str = "utf-8") -> bytes:
    return f'{{"prompt": [{ids}]}}'.encode(encoding)


@pytest.mark.parametrize(
    "body",
    [
        completion("1," * MOST_VALUES + "1"),
        completion("1," * MOST_VALUES + "1", "utf-16"),
        completion("[]," * MOST_VALUES + "[]"),
        completion('"\\"∀",' * (MOST_VALUES // 2) + "{}, " * MOST_VALUES),
        b"[" * (MOST_VALUES + 1),
    ],
)
@pytest.mark.parametrize("path", ["/v1/completions", "/v1/voices"])
def test_a_body_of_too_many_values_is_refused_before_its_fields_are_looked_at(
    api_with: Callable[[AppConfig], Api], ann: Person, path: str, body: bytes
) -> None:
    answer = api_with(AppConfig()).call(ann, "POST", path, data=body, content_type="application/json")
    error = error_of(answer, 413)
    assert error["code"] == "request_too_large"
    assert f"at most {MOST_VALUES} values" in error["message"]


def test_what_stands_in_a_text_is_no_value(api: Api, ann: Person) -> None:
    text = ',[{"' * MOST_VALUES
    answer = api.complete(ann, api.base.name, prompt=text[: 1 << 19])
    assert error_of(answer, 400)["code"] == "context_length_exceeded"
    assert api.complete(ann, api.base.name, prompt="My day", user=text[: 1 << 19]).status_code == 200


def test_a_training_file_may_hold_as_many_values_as_it_has_room_for(api: Api, ann: Person) -> None:
    form = {"purpose": "fine-tune", "file": (BytesIO(b"," * (MOST_VALUES + 1)), "mine.jsonl")}
    assert error_of(api.call(ann, "POST", "/v1/files", data=form), 400)["code"] == "invalid_training_file"


MANY = 1000
PART = {"type": "text", "text": "Hi"}
TURN = {"role": "user", "content": "Hi"}
MADE_UP = {f"made up {number}": "x" for number in range(MANY)}


@pytest.mark.parametrize(
    ("schema", "fields", "param"),
    [
        (CompletionRequest, {"prompt": [-1] * MANY}, "prompt"),
        (CompletionRequest, {"prompt": [[-1]] * MANY}, "prompt"),
        (CompletionRequest, {"prompt": [None] * MANY}, "prompt"),
        (CompletionRequest, {"prompt": "Hi", **MADE_UP}, "made up 0"),
        (CompletionRequest, {"prompt": "Hi", "stop": [1] * MANY}, "stop"),
        (ChatRequest, {"messages": [TURN | {"role": "x"}] * MANY}, "messages"),
        (ChatRequest, {"messages": [TURN | MADE_UP]}, "messages"),
        (ChatRequest, {"messages": [TURN | {"content": [PART | {"text": 1}] * MANY}]}, "messages"),
        (ChatRequest, {"messages": [TURN | {"content": [PART] * (MAX_PARTS + 1)}]}, "messages"),
        (NewJob, {"training_file": "file-1", "metadata": dict.fromkeys(MADE_UP, 1)}, "metadata"),
    ],
)
def test_of_a_thousand_faults_one_is_told_of_each_form_of_the_field(
    schema: type[Body], fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(ValidationError) as found:
        schema.model_validate({"model": "x", **fields})
    assert {fault["loc"][0] for fault in found.value.errors()} == {param}
    assert found.value.error_count() <= 4


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": 5}, "model", "invalid_value"),
        ({"model": None}, "model", "invalid_value"),
        ({"surprise": 1}, "surprise", "unknown_parameter"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"max_tokens": "5"}, "max_tokens", "invalid_value"),
        ({"max_tokens": True}, "max_tokens", "invalid_value"),
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"temperature": False}, "temperature", "invalid_value"),
        ({"top_p": 0}, "top_p", "invalid_value"),
        ({"top_k": -1}, "top_k", "invalid_value"),
        ({"seed": 2**63}, "seed", "invalid_value"),
        ({"stream": "yes"}, "stream", "invalid_value"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "invalid_value"),
        ({"stop": ""}, "stop", "invalid_value"),
        ({"prompt": []}, "prompt", "invalid_value"),
        ({"prompt": [10**6]}, "prompt", "unknown_token"),
        ({"prompt": [-1]}, "prompt", "invalid_value"),
        ({"prompt": ["one", "two"]}, "prompt", "invalid_value"),
        ({"prompt": "\ud800"}, "prompt", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": 9}, "n", "invalid_value"),
        ({"best_of": 2}, "best_of", "invalid_value"),
        ({"echo": True}, "echo", "invalid_value"),
        ({"logprobs": 0}, "logprobs", "logprobs_off"),
        ({"logprobs": 6}, "logprobs", "invalid_value"),
        ({"suffix": "."}, "suffix", "invalid_value"),
        ({"presence_penalty": 0.5}, "presence_penalty", "invalid_value"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "conflicting_parameters"),
    ],
)
def test_a_completion_field_that_is_wrong_or_would_be_ignored(
    api: Api, ann: Person, fields: dict[str, Any], param: str, code: str
) -> None:
    body = {"model": api.base.name, "prompt": "Hi", **fields}
    error = error_of(api.call(ann, "POST", "/v1/completions", json=body), 400)
    assert error["code"] == code
    assert error["param"] == param
    assert param in error["message"]


def test_a_field_of_several_forms_is_judged_by_the_form_it_was_meant_in(api: Api, ann: Person) -> None:
    body = {"model": api.base.name, "prompt": "Hi", "stop": ["a", "b", "c", "d", "e"]}
    assert "at most 4 items" in error_of(api.call(ann, "POST", "/v1/completions", json=body), 400)["message"]


def test_a_missing_field(api: Api, ann: Person) -> None:
    error = error_of(api.call(ann, "POST", "/v1/completions", json={"prompt": "Hi"}), 400)
    assert (error["code"], error["param"]) == ("missing_required_parameter", "model")


def test_what_clients_send_by_habit_changes_nothing(api: Api, ann: Person) -> None:
    habits = {
        "user": "u",
        "presence_penalty": 0,
        "frequency_penalty": 0.0,
        "n": 1,
        "best_of": 1,
        "echo": False,
        "logprobs": None,
        "suffix": None,
        "logit_bias": {},
        "stop": None,
        "stream": False,
        "stream_options": None,
    }
    assert (
        api.complete(ann, api.base.name, **habits).json["choices"] == api.complete(ann, api.base.name).json["choices"]
    )


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "order=asc", "after=%00"])
def test_a_query_that_is_wrong(api: Api, ann: Person, query: str) -> None:
    assert error_of(api.call(ann, "GET", f"/v1/voices?{query}"), 400)["param"] == query.split("=")[0]


def test_a_page_after_what_is_not_in_the_list(api: Api, ann: Person) -> None:
    error = error_of(api.call(ann, "GET", "/v1/voices?after=voice-unknown"), 404)
    assert (error["code"], error["param"]) == ("after_not_found", "after")


@pytest.mark.parametrize(
    ("spelled", "status"), [("2", 200), ("2.0", 200), ("2e0", 200), ("2.5", 400), ("NaN", 400), ("1e400", 400)]
)
def test_a_whole_number_is_whole_however_it_is_spelled(api: Api, ann: Person, spelled: str, status: int) -> None:
    body = f'{{"model": "{api.base.name}", "prompt": "Hi", "max_tokens": {spelled}}}'
    answer = api.call(ann, "POST", "/v1/completions", data=body, content_type="application/json")
    assert answer.status_code == status


def test_the_refused_text_is_not_repeated(api: Api, ann: Person) -> None:
    secret = "a private thought"
    answer = api.complete(ann, secret, prompt=secret, temperature=secret)
    error_of(answer, 400)
    assert secret not in answer.get_data(as_text=True)


def test_an_id_with_a_nul(api: Api, ann: Person) -> None:
    error_of(api.call(ann, "GET", "/v1/voices/voice-%00"), 404)


def test_no_key_and_a_wrong_one(api: Api) -> None:
    for headers in (
        {},
        {"Authorization": "Basic YTpi"},
        {"Authorization": "Bearer idl-wrong"},
        {"Authorization": "Bearer \xe9"},
    ):
        answer = api.client().get("/v1/models", headers=headers)
        assert error_of(answer, 401)["code"] == "invalid_api_key"
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_voice_of_another_base_model_needs_retraining(api: Api, ann: Person) -> None:
    publish(api.storage, ann, make_prefix(make_tiny("gpt2")))
    answer = api.complete(ann, ann.voice_id)
    assert error_of(answer, 409)["code"] == "voice_needs_retraining"
    assert answer.headers["x-should-retry"] == "false"


def test_the_prefix_counts_when_a_prompt_is_too_long(api: Api, ann: Person) -> None:
    prefix = publish_random(api, ann)
    room = api.base.context_length - prefix.num_virtual_tokens - 1
    error = error_of(api.complete(ann, ann.voice_id, prompt="x" * room), 400)  # and the document's start
    assert error["code"] == "context_length_exceeded"
    assert f"at most {room} " in error["message"]
    assert f"has {room + 1}" in error["message"]
    assert api.complete(ann, ann.voice_id, prompt="x" * (room - 1)).status_code == 200


def test_a_fault_of_ours_is_a_500_that_says_nothing_private(
    api: Api, ann: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    app: APIFlask = build(Services(AppConfig(), api.storage, api.base, api.engine))

    def broken() -> None:
        raise RuntimeError("a private thought")

    app.add_url_rule("/v1/broken", "voices.broken", broken)
    answer = app.test_client().get("/v1/broken", headers=ann.headers)
    assert error_of(answer, 500)["code"] == "internal_error"
    logged = capsys.readouterr()
    assert "private" not in answer.get_data(as_text=True) + logged.out + logged.err
    assert answer.headers["x-request-id"] in logged.out
    assert "RuntimeError" in logged.out


def test_the_log_has_no_text_no_key_and_no_address(api: Api, ann: Person, capsys: pytest.CaptureFixture[str]) -> None:
    answer = api.complete(ann, api.base.name, prompt="a private thought")
    answer.close()
    logged = capsys.readouterr().out
    assert answer.headers["x-request-id"] in logged
    assert '"route": "/v1/completions"' in logged
    for private in ("private", ann.key, "example.org", "127.0.0.1"):
        assert private not in logged
