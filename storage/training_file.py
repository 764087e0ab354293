"""Making writing samples out of an uploaded training file, or saying which line to mend and how. Knows no table.

JSON Lines in UTF-8, each line one of {"text": …}, {"prompt": …, "completion": …} and {"messages": [{"role": …,
"content": …}, …]}. Of messages, each of the assistant's answers becomes a sample; its prompt is the user's turn before
it. System and developer turns, and answers of weight 0, are not learned from. Messages never repeat what a line says.
"""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any, NoReturn

from storage.errors import InvalidSample, InvalidUpload
from storage.text_intake import MAX_SAMPLES, MAX_VOICE_CHARS, Draft, draft

MAX_UPLOAD_BYTES = 8_000_000
MAX_LINE_CHARS = 2_000_000
MOST_WRITINGS = 4 * MAX_SAMPLES  # as they stand there, some twice; whoever has more has joined the wrong files
_SHAPES = '{"text": "…"}, {"prompt": "…", "completion": "…"} or {"messages": [{"role": "user", "content": "…"}, …]}'
_MESSAGE_KEYS = {"role", "content", "weight"}
_UNLEARNED = ("system", "developer")


def read_training_file(data: bytes) -> list[Draft]:
    """The samples of a file, in its order, as often as they stand there. Raises InvalidUpload with the first line that
    can't be taken, or with what is wrong with the whole."""
    if len(data) > MAX_UPLOAD_BYTES:
        raise InvalidUpload(
            f"This file has {len(data):,} bytes, and a training file may have {MAX_UPLOAD_BYTES:,}. "
            "Split it, and train the same voice on each part."
        )
    writings = (sample for number, line in _lines(data) for sample in _samples_of(number, line))
    found = list(islice(writings, MOST_WRITINGS + 1))
    if len(found) > MOST_WRITINGS:
        raise InvalidUpload(
            f"This file has more than {MOST_WRITINGS:,} samples, and a voice may have {MAX_SAMPLES}. "
            "Join short pieces into longer ones, or leave the least typical out."
        )
    if not found:
        raise InvalidUpload(f"There is no writing in this file. Put one JSON object on each line: {_SHAPES}.")
    _require_room(found)
    return found


def _lines(data: bytes) -> Iterator[tuple[int, str]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        _refuse(1 + data.count(b"\n", 0, wrong.start), "is not UTF-8 text. Save the file as UTF-8 and send it again.")
    for number, line in enumerate(text.split("\n"), start=1):  # JSON may hold other line ends unescaped
        if not line.strip():
            continue
        if len(line) > MAX_LINE_CHARS:
            _refuse(number, f"has more than {MAX_LINE_CHARS:,} characters. Put what it says on several lines.")
        yield number, line


def _samples_of(number: int, line: str) -> Iterator[Draft]:
    for text, prompt in _writings(number, _object(number, line)):
        try:
            yield draft(text, prompt=prompt)
        except InvalidSample as wrong:
            raise InvalidUpload(f"Line {number}: {wrong}") from None


def _object(number: int, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        _refuse(number, f"is not JSON. Each line is one JSON object: {_SHAPES}.")
    if not isinstance(found, dict):
        _refuse(number, f"is not a JSON object. Write it as {_SHAPES}.")
    return found


def _writings(number: int, given: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    keys = set(given)
    if keys == {"text"}:
        yield _string(number, given, "text"), None
    elif keys == {"prompt", "completion"}:
        yield _string(number, given, "completion"), _string(number, given, "prompt")
    elif keys == {"messages"}:
        yield from _answers(number, given["messages"])
    else:
        _refuse(number, f"has other keys than a line may have. Write it as {_SHAPES}.")


def _answers(number: int, messages: Any) -> Iterator[tuple[str, str | None]]:
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        _refuse(number, 'must have a list of {"role": …, "content": …} as its messages.')
    asked, answered = None, False
    for message in messages:
        if not set(message) <= _MESSAGE_KEYS or message.get("weight", 1) not in (0, 1):
            _refuse(number, "has a message with more than role, content and a weight of 0 or 1. Take the rest out.")
        role, content = message.get("role"), _string(number, message, "content")
        if role == "assistant":
            answered = True
            if message.get("weight", 1):
                yield content, asked
            asked = None
        elif role == "user":
            asked = content
        elif role not in _UNLEARNED:
            _refuse(number, "has a message whose role is not system, developer, user or assistant.")
    if not answered:
        _refuse(
            number, "has no message of the assistant, which is what a voice is trained on. Add one, or drop the line."
        )


def _string(number: int, given: dict[str, Any], key: str) -> str:
    found = given.get(key)
    if not isinstance(found, str):
        _refuse(number, f"must have a string as its {key}.")
    return found


def _require_room(found: list[Draft]) -> None:
    texts = {sample.text for sample in found}
    if len(texts) > MAX_SAMPLES:
        raise InvalidUpload(
            f"This file has {len(texts):,} samples, and a voice may have {MAX_SAMPLES}. "
            "Join short pieces into longer ones, or leave the least typical out."
        )
    if sum(map(len, texts)) > MAX_VOICE_CHARS:
        raise InvalidUpload(
            f"This file has {sum(map(len, texts)):,} characters of writing, and a voice may have {MAX_VOICE_CHARS:,}. "
            "Leave the least typical out."
        )


def _refuse(number: int, sentence: str) -> NoReturn:
    raise InvalidUpload(f"Line {number} {sentence}")
