"""Drafts on their way from the API to the writing page: OpenAI's chunks, of either endpoint, told again as the few
words the page needs. What a blind trial hides is left out here, so that it is in no answer that the browser gets.

An event is one of {"index", "text"}, {"index", "end"} ("stop", or "length": there was more to say), {"error"}, and as
the last one {"done", "version", "strength"}. A stream without `done` was cut off.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from flask import Response

from app.web import words
from app.web.catalogues import Language

PINGS = b":"


@dataclass(frozen=True)
class Maker:
    """Which version of the voice wrote an answer, and how closely it was followed; None: the base model."""

    version: int | None
    strength: float | None

    @classmethod
    def of(cls, answer: Response) -> Self:
        """As the API's answer itself says, and nothing else."""
        version, strength = (answer.headers.get(f"x-idiolect-{name}") for name in ("version", "strength"))
        return cls(None if version is None else int(version), None if strength is None else float(strength))


def retold(answer: Response, *, blind: bool) -> Response:
    """The API's streamed answer as the page's own; of a refusal only the sentence is told in the reader's language."""
    if answer.status_code != 200:
        return _refused(answer)
    pieces = _told(answer.iter_encoded(), _signature(answer, blind), words.current())
    told = Response(pieces, mimetype="text/event-stream")
    told.headers["X-Accel-Buffering"] = "no"
    told.call_on_close(answer.close)
    return told


def texts_of(answer: Response) -> list[str]:
    """The drafts of an answer that was not streamed. Raises ValueError with the API's sentence where there is none."""
    said = json.loads(answer.get_data())
    answer.close()
    if answer.status_code != 200:
        raise ValueError(words.told(said["error"]["message"]))
    return [_text(choice) for choice in said["choices"]]


def _refused(answer: Response) -> Response:
    try:
        said = json.loads(answer.get_data())
        sentence = said["error"]["message"]
    except (ValueError, KeyError, TypeError):  # not the API's own: something between
        return answer
    if (told := words.told(sentence)) != sentence:
        said["error"]["message"] = told
        answer.set_data(json.dumps(said))
    return answer


def _signature(answer: Response, blind: bool) -> dict[str, Any]:
    maker = Maker(None, None) if blind else Maker.of(answer)
    return {"done": True, "version": maker.version, "strength": maker.strength}


def _told(pieces: Iterable[bytes], signature: dict[str, Any], language: Language) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *events, rest = (rest + piece).split(b"\n\n")
        for event in events:
            if event.startswith(PINGS):
                yield event + b"\n\n"
            elif event.startswith(b"data:"):
                yield from map(_frame, _said(event.removeprefix(b"data:").strip(), signature, language))


def _said(data: bytes, signature: dict[str, Any], language: Language) -> Iterator[dict[str, Any]]:
    if data == b"[DONE]":
        yield signature
        return
    chunk = json.loads(data)
    if "error" in chunk:
        yield {"error": language.told(chunk["error"]["message"])}
        return
    for choice in chunk["choices"]:
        index = choice.get("index", 0)
        if text := _text(choice):
            yield {"index": index, "text": text}
        if end := choice.get("finish_reason"):
            yield {"index": index, "end": end}


def _text(choice: dict[str, Any]) -> str:
    """Of a completion, or of a conversation's turn, whole or a piece of it."""
    said = choice.get("message") or choice.get("delta") or {}
    return str(choice.get("text") or said.get("content") or "")


def _frame(event: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(event)}\n\n".encode()
