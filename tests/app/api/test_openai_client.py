"""The official client, unchanged, against a real server."""

from collections.abc import Callable

import openai
import pytest

from app.config import AppConfig
from tests.app.api.people import Api, Person, publish_random
from tests.app.api.server_thread import served
from tests.app.generation.test_voice_strength import led_alone

ClientOf = Callable[[str], openai.OpenAI]


def test_lists_the_base_model_and_the_callers_own_voices(
    api: Api, client_of: ClientOf, ann: Person, ben: Person
) -> None:
    assert [model.id for model in client_of(ann.key).models.list()] == [api.base.name]  # no voice speaks yet
    for person in (ann, ben):
        publish_random(api, person)
    listed = client_of(ann.key).models.list()
    assert [model.id for model in listed] == [api.base.name, ann.voice_id]
    assert client_of(ann.key).models.retrieve(ann.voice_id).id == ann.voice_id
    version = client_of(ann.key).models.retrieve(f"{ann.voice_id}@1")
    assert (version.id, version.to_dict()["version"]) == (f"{ann.voice_id}@1", 1)
    others = (f"{ann.voice_id}@{version}" for version in ("2", "one", "", "9" * 30))
    for nobody in (ben.voice_id, f"{ben.voice_id}@1", *others):
        with pytest.raises(openai.NotFoundError) as refused:
            client_of(ann.key).models.retrieve(nobody)
        assert refused.value.code == "model_not_found"
        assert "GET /v1/models" in refused.value.message


def test_completes_in_a_voice_and_says_whose(api: Api, client_of: ClientOf, ann: Person) -> None:
    publish_random(api, ann)
    answer = client_of(ann.key).completions.with_raw_response.create(
        model=ann.voice_id, prompt="My day", max_tokens=12, temperature=0
    )
    completion = answer.parse()
    assert completion.object == "text_completion"
    assert completion.choices[0].finish_reason in ("length", "stop")
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == 7  # the document's start and six bytes
    assert completion.usage.completion_tokens == 12
    assert completion.to_dict()["idiolect"] == {"voice": ann.voice_id, "version": 1, "strength": 1}
    assert answer.headers["x-idiolect-voice"] == ann.voice_id
    assert answer.headers["x-idiolect-version"] == "1"
    assert completion.system_fingerprint == f"fp_{api.base.fingerprint[:12]}"
    assert answer.request_id is not None


def test_streams_the_same_text_with_usage_at_the_end(api: Api, client_of: ClientOf, ann: Person) -> None:
    publish_random(api, ann)
    client = client_of(ann.key)
    asked = {"model": ann.voice_id, "prompt": "My day", "max_tokens": 24, "temperature": 0}
    whole = client.completions.create(**asked)  # type: ignore[call-overload]
    chunks = list(
        client.completions.create(**asked, stream=True, stream_options={"include_usage": True})  # type: ignore[call-overload]
    )
    assert len(chunks) > 3
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == whole.choices[0].text
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == whole.choices[0].finish_reason
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert {chunk.id for chunk in chunks} == {chunks[0].id}


def test_reads_several_answers_whole_and_in_pieces(api: Api, client_of: ClientOf, ann: Person) -> None:
    publish_random(api, ann)
    client = client_of(ann.key)
    asked = {"model": ann.voice_id, "prompt": "My day", "max_tokens": 16, "seed": 3}
    alone = [
        client.completions.create(**asked | {"seed": seed}).choices[0].text  # type: ignore[call-overload]
        for seed in (3, 4)
    ]
    whole = client.completions.create(**asked, n=2)  # type: ignore[call-overload]
    assert [(choice.index, choice.text) for choice in whole.choices] == list(enumerate(alone))
    read = {0: "", 1: ""}
    for chunk in client.completions.create(**asked, n=2, stream=True):  # type: ignore[call-overload]
        read[chunk.choices[0].index] += chunk.choices[0].text
    assert [read[0], read[1]] == alone


def test_follows_a_voice_by_another_strength_with_a_field_of_ours(api: Api, client_of: ClientOf, ann: Person) -> None:
    prefix = publish_random(api, ann)
    client = client_of(ann.key)
    prompt, said = api.base.encode("My day"), {}
    for strength in (0, 0.5, 1, 1.7):
        answer = client.completions.with_raw_response.create(
            model=ann.voice_id,
            prompt="My day",
            max_tokens=10,
            temperature=0,
            extra_body={"voice_strength": strength},
        )
        completion = answer.parse()
        assert completion.to_dict()["idiolect"] == {"voice": ann.voice_id, "version": 1, "strength": strength}
        assert answer.headers["x-idiolect-strength"] == f"{strength:g}"
        assert completion.usage is not None
        assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (7, 10)
        said[strength] = completion.choices[0].text
        expected = led_alone(api.base, prompt, prefix, strength, 10)
        assert said[strength] == api.base.decode(expected).rstrip("\ufffd")
    plain = client.completions.create(model=api.base.name, prompt="My day", max_tokens=10, temperature=0)
    assert plain.choices[0].text == said[0]
    assert len(set(said.values())) > 2


def test_meets_400_for_a_prompt_longer_than_the_context(api: Api, client_of: ClientOf, ann: Person) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client_of(ann.key).completions.create(model=api.base.name, prompt="x" * 400)
    assert refused.value.code == "context_length_exceeded"
    assert "401" in refused.value.message
    assert str(api.base.context_length - 1) in refused.value.message


@pytest.mark.parametrize("key", ["sk-wrong", "idl-wrong", "gw-wrong", "gw-"])
def test_meets_401_without_a_good_key(client_of: ClientOf, key: str) -> None:
    with pytest.raises(openai.AuthenticationError) as refused:
        client_of(key).models.list()
    assert refused.value.code == "invalid_api_key"
    assert refused.value.request_id is not None


def test_meets_404_for_somebody_elses_voice(api: Api, client_of: ClientOf, ann: Person, ben: Person) -> None:
    publish_random(api, ben)
    for model in (ben.voice_id, "voice-unknown", f"{ann.voice_id}@2"):
        with pytest.raises(openai.NotFoundError) as refused:
            client_of(ann.key).completions.create(model=model, prompt="Hello")
        assert refused.value.code == "model_not_found"
        assert refused.value.param == "model"
        assert "/versions" in refused.value.message, "where to look"


def test_meets_409_for_an_untrained_voice_and_is_told_not_to_retry(client_of: ClientOf, ann: Person) -> None:
    with pytest.raises(openai.ConflictError) as refused:
        client_of(ann.key).completions.create(model=ann.voice_id, prompt="Hello")
    assert refused.value.code == "voice_not_trained"
    assert "put one of its versions to use" in refused.value.message
    assert refused.value.response.headers["x-should-retry"] == "false"


def test_meets_429_when_a_key_calls_too_often(api: Api, api_with: Callable[[AppConfig], Api], ann: Person) -> None:
    strict = api_with(AppConfig(rate_limit_url=api.storage.config.cache_url, rate_limit_per_minute=3))
    with served(strict.app) as url, openai.OpenAI(base_url=f"{url}/v1", api_key=ann.key, max_retries=0) as client:
        answers = [client.models.with_raw_response.list() for _ in range(3)]
        assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["2", "1", "0"]
        with pytest.raises(openai.RateLimitError) as refused:
            client.models.list()
    headers = refused.value.response.headers
    assert refused.value.code == "rate_limit_exceeded"
    assert 1 <= int(headers["Retry-After"]) <= 60
    assert headers["x-ratelimit-limit-requests"] == "3"
    assert headers["x-ratelimit-reset-requests"].endswith("s")
