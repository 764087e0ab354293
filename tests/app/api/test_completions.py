"""Text by way of HTTP: the same as the model's own generate, in pieces or whole, and never for nobody."""

import json
import re
import socket
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import torch

from app.api import spoken
from app.api.factory import build
from app.api.services import Services
from app.config import AppConfig
from app.generation.engine import Engine
from app.generation.sampling import SamplingParams
from tests.app.api.people import Api, Person, publish, publish_random
from tests.app.api.server_thread import served
from tests.app.api.test_errors import error_of
from tests.tiny_model import make_prefix
from tuning.base_model import BaseModel
from tuning.prefix import Prefix


def generated(base: BaseModel, prompt: str, prefix: Prefix | None, count: int) -> str:
    """What transformers' own greedy generate says."""
    ids = torch.tensor([base.encode(prompt)])
    virtual = prefix.num_virtual_tokens if prefix else 0
    mask = torch.ones(1, virtual + ids.shape[1], dtype=torch.long)
    made = base.model.generate(
        ids if prefix is None else torch.cat([torch.zeros(1, virtual, dtype=torch.long), ids], dim=1),
        attention_mask=mask,
        past_key_values=prefix.as_cache() if prefix else None,
        max_new_tokens=count,
        do_sample=False,
        pad_token_id=1,
    )
    return base.decode(made[0, virtual + ids.shape[1] :].tolist()).rstrip("\ufffd")  # an unfinished character


def test_the_base_model_and_two_voices_each_say_what_generate_says(api: Api, ann: Person, ben: Person) -> None:
    prefixes = {ann: publish_random(api, ann, seed=1), ben: publish_random(api, ben, seed=2)}
    said = {}
    for person in (ann, ben):
        text = api.complete(person, person.voice_id, max_tokens=20).json["choices"][0]["text"]
        assert text == generated(api.base, "My day", prefixes[person], 20)
        said[person] = text
    plain = api.complete(ann, api.base.name, max_tokens=20)
    assert plain.json["choices"][0]["text"] == generated(api.base, "My day", None, 20)
    assert plain.json["idiolect"] is None
    assert "x-idiolect-voice" not in plain.headers
    assert len({*said.values(), plain.json["choices"][0]["text"]}) == 3


def test_a_prompt_may_be_token_ids_or_a_list_of_one(api: Api, ann: Person) -> None:
    text = api.complete(ann, api.base.name).json["choices"]
    ids = api.base.encode("My day")
    for prompt in (ids, [ids], ["My day"]):
        assert api.complete(ann, api.base.name, prompt=prompt).json["choices"] == text
    assert api.complete(ann, api.base.name, prompt="").status_code == 200


def test_a_seed_repeats_and_another_does_not(api: Api, ann: Person) -> None:
    def said(seed: int) -> str:
        wish = {"temperature": 1.5, "seed": seed, "max_tokens": 30}
        text: str = api.complete(ann, api.base.name, **wish).json["choices"][0]["text"]
        return text

    assert said(1) == said(1) != said(2)


def test_one_likeliest_token_is_greedy(api: Api, ann: Person) -> None:
    greedy = api.complete(ann, api.base.name).json["choices"]
    for fields in ({"top_k": 1}, {"top_p": 1e-9}):
        assert api.complete(ann, api.base.name, **(fields | {"temperature": 1})).json["choices"] == greedy


def test_a_stop_string_ends_the_answer_before_it(api: Api, ann: Person) -> None:
    whole = api.complete(ann, api.base.name, max_tokens=30).json["choices"][0]["text"]
    stop = whole[8:11]
    answer = api.complete(ann, api.base.name, max_tokens=30, stop=[stop, "never said"]).json
    assert answer["choices"][0]["text"] == whole[: whole.index(stop)]
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] < 30


def test_a_stream_is_events_then_done(api: Api, ann: Person) -> None:
    publish_random(api, ann)
    answer = api.complete(ann, ann.voice_id, stream=True)
    assert answer.mimetype == "text/event-stream"
    assert answer.headers["x-idiolect-version"] == "1"
    assert answer.headers["Cache-Control"] == "no-store"
    *events, last, end = answer.get_data(as_text=True).split("\n\n")
    assert (last, end) == ("data: [DONE]", "")
    for event in events:
        chunk = json.loads(event.removeprefix("data: "))
        assert chunk["object"] == "text_completion"
        assert chunk["idiolect"] == {"voice": ann.voice_id, "version": 1, "strength": 1}


def test_the_version_in_use_speaks_and_a_voice_switched_off_does_not(api: Api, ann: Person) -> None:
    publish_random(api, ann, seed=1)
    first = api.complete(ann, ann.voice_id).json
    publish_random(api, ann, seed=2)
    second = api.complete(ann, ann.voice_id).json
    assert (first["idiolect"]["version"], second["idiolect"]["version"]) == (1, 2)
    assert first["choices"] != second["choices"]
    assert api.call(ann, "POST", f"/v1/voices/{ann.voice_id}/versions/1/use").json["active_version"] == 1
    assert api.complete(ann, ann.voice_id).json["choices"] == first["choices"]
    api.call(ann, "PATCH", f"/v1/voices/{ann.voice_id}", json={"active_version": None})
    assert api.complete(ann, ann.voice_id).status_code == 409


def test_a_version_that_is_named_speaks_whichever_is_in_use(api: Api, ann: Person, ben: Person) -> None:
    said = []
    for number in (1, 2):
        publish_random(api, ann, seed=number)
        said.append(api.complete(ann, ann.voice_id).json["choices"])
    for number in (1, 2):
        answer = api.complete(ann, f"{ann.voice_id}@{number}")
        assert answer.json["choices"] == said[number - 1]
        assert answer.json["idiolect"] == {"voice": ann.voice_id, "version": number, "strength": 1}
        assert answer.headers["x-idiolect-version"] == str(number)
    for unknown in ("@3", "@0", "@-1", "@two", "@", "@1@1", "@\u0661", "@" + "9" * 150):
        assert error_of(api.complete(ann, ann.voice_id + unknown), 404)["param"] == "model"
    assert error_of(api.complete(ben, f"{ann.voice_id}@1"), 404)["param"] == "model"


@pytest.fixture
def narrow(api: Api) -> Any:
    """An API whose engine has one row and room for one more to wait."""
    engine = Engine(api.base, max_num_seqs=1, max_waiting=1)
    engine.start()
    app = build(Services(AppConfig(), api.storage, api.base, engine))
    with served(app) as url:
        yield Api(url, app, api.storage, api.base, engine)
    engine.close()


def eventually(condition: Callable[[], bool], seconds: float = 5) -> bool:
    """Does it come true in time?"""
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


def begin(api: Api, person: Person, **fields: Any) -> socket.socket:
    """Send a long request over a socket of its own; returns the socket with the answer on its way."""
    wish = {"max_tokens": 240, "temperature": 1, "seed": 5}  # a seed whose answer is as long as that; others end early
    body = json.dumps({"model": api.base.name, "prompt": "x", **wish, **fields}).encode()
    address = httpx.URL(api.url)
    connection = socket.create_connection((address.host, address.port or 80), timeout=10)
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {person.key}\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\nContent-Type: application/json\r\n\r\n".encode() + body)
    return connection


@pytest.mark.parametrize("stream", [True, False])
def test_a_caller_that_hangs_up_frees_its_row(narrow: Api, ann: Person, stream: bool) -> None:
    finished = narrow.engine.figures().generated_tokens
    connection = begin(narrow, ann, stream=stream)
    if stream:
        assert connection.recv(4000).startswith(b"HTTP/1.1 200")
    assert eventually(lambda: narrow.engine.figures().generated_tokens > finished)
    connection.close()
    assert eventually(lambda: narrow.engine.figures().running == 0)
    assert narrow.engine.figures().generated_tokens - finished < 240


def test_a_caller_that_hangs_up_while_it_waits_frees_its_place(
    narrow: Api, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spoken, "HUNG_UP_POLL_S", 0.02)
    with narrow.engine.submit([1], SamplingParams(temperature=1, max_tokens=240), None):
        connection = begin(narrow, ann)
        assert eventually(lambda: narrow.engine.figures().waiting == 1)
        connection.close()
        assert eventually(lambda: narrow.engine.figures().waiting == 0 and narrow.engine.figures().running == 1)


@pytest.fixture
def tokenised(api: Api, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that the base model's tokenizer is called with."""
    seen: list[str] = []
    kind = type(api.base.tokenizer)
    call = kind.__call__

    def noting(self: Any, text: str, **options: Any) -> Any:
        seen.append(text)
        return call(self, text, **options)

    monkeypatch.setattr(kind, "__call__", noting)
    return seen


def test_a_prompt_that_can_not_fit_is_refused_before_it_is_tokenised(
    api: Api, ann: Person, tokenised: list[str]
) -> None:
    assert api.complete(ann, api.base.name, prompt="My day").status_code == 200
    assert tokenised == ["My day"]
    for prompt in ("word " * 180_000, ["word " * 180_000]):
        error = api.complete(ann, api.base.name, prompt=prompt).json["error"]  # type: ignore[arg-type]
        assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")
        assert f"at most {api.base.context_length - 1} tokens" in error["message"]
        assert re.search(r"at most \d+ characters; the prompt has 900000", error["message"])
    assert tokenised == ["My day"]


def test_token_ids_that_can_not_fit_are_refused_for_that_though_no_minute_holds_so_many(api: Api, ann: Person) -> None:
    for num_tokens in (api.base.context_length, 250_000):
        error = api.complete(ann, api.base.name, prompt=[1] * num_tokens).json["error"]  # type: ignore[arg-type]
        assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")
        assert f"has {num_tokens}" in error["message"]
        in_a_voice = api.base.context_length - 1 - api.base.num_virtual_tokens_probed
        assert f"in a voice fewer by its prefix, usually {in_a_voice};" in error["message"]
    assert api.complete(ann, api.base.name, prompt=[1] * 8, max_tokens=1).status_code == 200  # type: ignore[arg-type]


def test_a_full_engine_is_503_with_retry_after(narrow: Api, ann: Person) -> None:
    connections = [begin(narrow, ann, stream=True) for _ in range(2)]
    assert eventually(lambda: narrow.engine.figures().running + narrow.engine.figures().waiting == 2)
    refused = narrow.complete(ann, narrow.base.name)
    for connection in connections:
        connection.close()
    assert refused.status_code == 503
    assert refused.json["error"]["code"] == "engine_full"
    assert int(refused.headers["Retry-After"]) >= 1


def test_more_answers_than_an_engine_ever_takes_are_a_400(narrow: Api, ann: Person) -> None:
    error = error_of(narrow.complete(ann, narrow.base.name, n=3), 400)
    assert error["param"] == "n"
    assert "2" in error["message"]
    assert len(narrow.complete(ann, narrow.base.name, n=2).json["choices"]) == 2


def test_a_caller_that_hangs_up_frees_the_rows_of_all_answers(narrow: Api, ann: Person) -> None:
    connection = begin(narrow, ann, stream=True, n=2)
    assert connection.recv(4000).startswith(b"HTTP/1.1 200")
    connection.close()
    assert eventually(lambda: narrow.engine.figures().running + narrow.engine.figures().waiting == 0)


def test_a_strength_that_needs_more_rows_than_there_are_is_a_400(narrow: Api, ann: Person) -> None:
    publish_random(narrow, ann)
    error = error_of(narrow.complete(ann, ann.voice_id, voice_strength=1.5), 400)
    assert error["param"] == "voice_strength"
    assert narrow.complete(ann, ann.voice_id, voice_strength=0).status_code == 200


def test_a_stream_cut_by_a_stopping_server_says_so_in_its_last_event(narrow: Api, ann: Person) -> None:
    body = {"model": narrow.base.name, "prompt": "x", "max_tokens": 240, "temperature": 1, "stream": True}
    with httpx.stream("POST", f"{narrow.url}/v1/completions", json=body, headers=ann.headers, timeout=10) as answer:
        lines = (line for line in answer.iter_lines() if line)
        next(lines)
        narrow.engine.close()
        *_, last = lines
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "server_stopping"
    assert narrow.complete(ann, narrow.base.name).status_code == 503
    assert narrow.client().get("/healthz").status_code == 503


def test_a_prefix_longer_than_usual_still_speaks(api: Api, ann: Person) -> None:
    prefix = make_prefix(api.base, num_virtual_tokens=9, seed=5)
    publish(api.storage, ann, prefix)
    stored = Prefix.from_bytes(prefix.to_bytes(), api.base.fingerprint, dtype=api.base.dtype)
    said = api.complete(ann, ann.voice_id, max_tokens=10).json["choices"][0]["text"]
    assert said == generated(api.base, "My day", stored, 10)
