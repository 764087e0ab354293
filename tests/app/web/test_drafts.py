"""The API's answers, told again for the page."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from flask import Response

from app.web.drafts import retold, texts_of


def chunk(**choice: Any) -> bytes:
    return f"data: {json.dumps({'model': 'voice-a', 'idiolect': {'version': 3}, 'choices': [choice]})}\n\n".encode()


DONE = b"data: [DONE]\n\n"
ANSWER = (
    chunk(index=0, delta={"role": "assistant", "content": ""}),
    chunk(index=0, delta={"content": "Dear "}),
    b": ping\n\n",
    chunk(index=1, text="Hello ", finish_reason=None),
    chunk(index=1, text="you.", finish_reason="stop"),
    chunk(index=0, delta={}, finish_reason="length"),
    b'data: {"choices": [], "usage": {}}\n\n',
    DONE,
)
TOLD = [
    {"index": 0, "text": "Dear "},
    {"index": 1, "text": "Hello "},
    {"index": 1, "text": "you."},
    {"index": 1, "end": "stop"},
    {"index": 0, "end": "length"},
]


def events(pieces: Iterable[bytes], *, blind: bool = False) -> list[dict[str, Any]]:
    headers = {"x-idiolect-version": "3", "x-idiolect-strength": "0.5", "x-idiolect-voice": "voice-a"}
    told = retold(Response(iter(pieces), headers=headers), blind=blind)
    assert told.mimetype == "text/event-stream"
    assert not any(name.lower().startswith("x-idiolect") for name, _ in told.headers)
    body = told.get_data(as_text=True)
    assert "voice-a" not in body
    return [json.loads(event[5:]) for event in body.split("\n\n") if event.startswith("data:")]


def test_both_endpoints_are_told_in_the_same_words_and_signed() -> None:
    assert events(ANSWER) == [*TOLD, {"done": True, "version": 3, "strength": 0.5}]


def test_blind_nobody_signs() -> None:
    assert events(ANSWER, blind=True) == [*TOLD, {"done": True, "version": None, "strength": None}]


@pytest.mark.parametrize("size", [1, 7, 64])
def test_wherever_the_bytes_are_cut_the_events_are_whole(size: int) -> None:
    whole = b"".join(ANSWER).replace(b"Hello ", "Grüße ".encode())
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    assert events(pieces)[1] == {"index": 1, "text": "Grüße "}
    assert len(events(pieces)) == len(TOLD) + 1


def test_a_failure_in_the_middle_is_told_and_the_end_is_not() -> None:
    broken = b'data: {"error": {"message": "It broke off.", "type": "server_error"}}\n\n'
    assert events([*ANSWER[:2], broken])[-1] == {"error": "It broke off."}
    assert events(ANSWER[:4]) == TOLD[:2]


def test_a_ping_keeps_the_connection_open() -> None:
    assert b": ping\n\n" in retold(Response(iter(ANSWER)), blind=False).get_data()


def test_leaving_the_page_closes_the_answer() -> None:
    left = []
    answer = Response(iter(ANSWER))
    answer.call_on_close(lambda: left.append(True))
    told = retold(answer, blind=False)
    next(iter(told.response))  # type: ignore[call-overload]
    told.close()
    assert left == [True]


@pytest.mark.parametrize("said", ["{}", "[]", "<h1>Bad gateway</h1>", '{"error": {"message": "Nobody knows this."}}'])
def test_a_refusal_stays_as_it_is(said: str) -> None:
    refused = Response(said, status=409)
    assert retold(refused, blind=False) is refused
    assert refused.get_data(as_text=True) == said


def test_an_answer_that_is_not_streamed_is_its_texts() -> None:
    said = {"choices": [{"text": "One."}, {"message": {"role": "assistant", "content": "Two."}}]}
    assert texts_of(Response(json.dumps(said))) == ["One.", "Two."]
    with pytest.raises(ValueError, match="no version"):
        texts_of(Response(json.dumps({"error": {"message": "This voice has no version."}}), status=409))
