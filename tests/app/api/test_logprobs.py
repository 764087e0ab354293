"""How likely each token was, in OpenAI's shapes, where the installation allows it."""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
import torch
from jsonschema import Draft202012Validator

from app.api.factory import create_app
from app.api.services import EXTENSION
from app.config import AppConfig
from app.errors import ConfigurationError
from app.generation.token_text import TokenTexts
from tests.app.api.people import Api, Person, publish_random
from tests.app.api.server_thread import served
from tests.app.api.test_chat import TALK, chat, talking
from tests.app.api.test_errors import error_of
from tests.app.generation.alone import logits_alone
from tuning.encoding import ENCODING

__all__ = ["talking"]
ON = AppConfig(logprobs="on")


@pytest.fixture
def telling(talking: Api) -> Iterator[Api]:
    """An API on a model with a chat template that tells how likely tokens are."""
    app = create_app(ON, talking.storage, talking.base, talking.engine)
    with served(app) as url:
        yield Api(url, app, talking.storage, talking.base, talking.engine)


def test_they_are_off_unless_switched_on(api: Api, ann: Person) -> None:
    error = error_of(api.complete(ann, api.base.name, logprobs=2), 400)
    assert (error["param"], error["code"]) == ("logprobs", "logprobs_off")
    assert "IDIOLECT_LOGPROBS" in error["message"]
    assert api.complete(ann, api.base.name, logprobs=None).json["choices"][0]["logprobs"] is None


def test_the_setting_is_on_or_off() -> None:
    assert AppConfig.from_env({"IDIOLECT_LOGPROBS": "on"}).logprobs == "on"
    assert AppConfig.from_env({}).logprobs == "off"
    with pytest.raises(ConfigurationError, match="IDIOLECT_LOGPROBS"):
        AppConfig.from_env({"IDIOLECT_LOGPROBS": "yes"})


def test_a_completions_numbers_are_the_voices_own(api: Api, api_with: Callable[[AppConfig], Api], ann: Person) -> None:
    prefix = publish_random(api, ann)
    choice = api_with(ON).complete(ann, ann.voice_id, max_tokens=10, logprobs=3).json["choices"][0]
    told = choice["logprobs"]
    so_far = api.base.encode("My day")
    assert len(told["tokens"]) == len(told["token_logprobs"]) == len(told["top_logprobs"]) == 10
    for place, logprob in enumerate(told["token_logprobs"]):
        expected = torch.log_softmax(logits_alone(api.base, so_far, prefix), dim=-1)
        assert logprob == pytest.approx(float(expected.max()), abs=1e-6)
        top = sorted(told["top_logprobs"][place].values(), reverse=True)
        assert top == pytest.approx(expected.topk(3).values.tolist(), abs=1e-6)
        assert told["top_logprobs"][place][told["tokens"][place]] == logprob
        so_far.append(int(expected.argmax()))
    for token, offset in zip(told["tokens"], told["text_offset"], strict=True):
        assert token.startswith("bytes:") or choice["text"][offset:].startswith(token)


def test_a_completions_chunks_tell_what_the_whole_tells(api_with: Callable[[AppConfig], Api], ann: Person) -> None:
    api = api_with(ON)
    whole = api.complete(ann, api.base.name, max_tokens=20, logprobs=2).json["choices"][0]["logprobs"]
    stream = api.complete(ann, api.base.name, max_tokens=20, logprobs=2, stream=True).get_data(as_text=True)
    joined: dict[str, list[Any]] = {name: [] for name in whole}
    for event in stream.split("\n\n")[:-2]:
        for name, values in json.loads(event.removeprefix("data: "))["choices"][0]["logprobs"].items():
            joined[name] += values
    assert joined == whole


def test_zero_tells_the_chosen_token_alone(api_with: Callable[[AppConfig], Api], ann: Person) -> None:
    api = api_with(ON)
    told = api.complete(ann, api.base.name, max_tokens=4, logprobs=0).json["choices"][0]["logprobs"]
    assert [list(top.items()) for top in told["top_logprobs"]] == [
        [pair] for pair in zip(told["tokens"], told["token_logprobs"], strict=True)
    ]


def test_a_chats_numbers_are_read_by_the_client_whole_and_in_pieces(telling: Api, ann: Person) -> None:
    prefix = publish_random(telling, ann)
    asked: Any = {"model": ann.voice_id, "messages": TALK, "temperature": 0, "max_tokens": 12}
    asked |= {"logprobs": True, "top_logprobs": 2}
    with openai.OpenAI(base_url=f"{telling.url}/v1", api_key=ann.key, max_retries=0) as client:
        choice = client.chat.completions.create(**asked).choices[0]
        chunks = list(client.chat.completions.create(**asked, stream=True))
    assert choice.logprobs is not None
    told = choice.logprobs.content
    assert told
    prompt = telling.base.encode_conversation([(turn["role"], turn["content"]) for turn in TALK])
    so_far = list(prompt)
    for token in told:
        expected = torch.log_softmax(logits_alone(telling.base, so_far, prefix), dim=-1)
        assert token.logprob == pytest.approx(float(expected.max()), abs=1e-6)
        assert [one.logprob for one in token.top_logprobs] == pytest.approx(expected.topk(2).values.tolist(), abs=1e-6)
        assert token.top_logprobs[0].token == token.token
        so_far.append(int(expected.argmax()))
        assert bytes(token.bytes or []) == TokenTexts(telling.base.tokenizer).bytes_of(so_far[-1])
    assert choice.message.content == telling.base.decode(so_far[len(prompt) :]).rstrip("\ufffd")
    pieces = [chunk.choices[0].logprobs.content or [] for chunk in chunks if chunk.choices[0].logprobs]
    assert [token for piece in pieces for token in piece] == told


def test_answers_with_numbers_are_as_the_document_says(telling: Api, ann: Person) -> None:
    document = telling.client().get("/v1/openapi.json").json
    talked = chat(telling, ann, logprobs=True, top_logprobs=2, n=2)
    completed = telling.complete(ann, telling.base.name, logprobs=2)
    for path, answer in (("/v1/chat/completions", talked), ("/v1/completions", completed)):
        schema = document["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert answer.json["choices"][0]["logprobs"]
        Draft202012Validator({**schema, "components": document["components"]}).validate(answer.json)


def test_a_chat_without_the_wish_tells_nothing(telling: Api, ann: Person) -> None:
    for fields in ({}, {"logprobs": False}, {"top_logprobs": 0}):
        assert chat(telling, ann, **fields).json["choices"][0]["logprobs"] is None
    told = chat(telling, ann, logprobs=True).json["choices"][0]["logprobs"]
    assert all(token["top_logprobs"] == [] for token in told["content"])


def test_the_tokenizer_is_not_touched_while_somebody_encodes(api: Api) -> None:
    """It keeps in itself whether control tokens are split, which whoever encodes has set for a moment."""
    of_app = create_app(ON, api.storage, api.base, api.engine).extensions[EXTENSION]
    asked = threading.Thread(target=lambda: of_app.token_texts)
    with ENCODING:
        asked.start()
        asked.join(0.2)
        assert asked.is_alive()
    asked.join(5)
    assert not asked.is_alive()
