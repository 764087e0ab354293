"""Requests that the base model makes for samples without one, so that a voice learns to answer and not only to go on.
Owns the question to the model and what is fit to keep of its answer. Knows nothing of training; logs no text."""

import re
from collections.abc import Callable, Sequence

from storage import run_claims, samples
from storage.run_claims import Claim
from storage.samples import Sample
from storage.store import Storage
from storage.text_intake import MAX_PROMPT_CHARS
from tuning.base_model import BaseModel
from tuning.continuation import continuations

MOST_NEW_TOKENS = 40
EXCERPT_TOKENS = 256  # how a text begins tells what it answers
LEAST_EXCERPT_TOKENS = 16
TEXTS_AT_ONCE = 4
_QUESTION = "{excerpt}\n\n---\nIn one line: which request does the text above answer? Write the request alone."
_LABEL = re.compile(r"^(?:[-*#>]+\s*|(?:the\s+)?(?:request|prompt|question|instruction)\s*:\s*)+", re.IGNORECASE)
_QUOTES = "\"'`*“”„‘’«»"  # models quote and embolden what they were asked for
_WORDS = re.compile(r"\w+")
# What small models fall into: the same again and again, up to the last token, in the middle of a word.
_AGAIN = re.compile(r"\b(\w.{2,79}?)((?:[,;.!]?\s+(?:and\s+)?\1){2,})(?!\w)(.*)", re.IGNORECASE)
_LEAST_ECHO_WORDS = 3  # of a request's own beginning, come back within it


def make_missing(
    base: BaseModel,
    storage: Storage,
    claim: Claim,
    *,
    check: Callable[[], None],
    note: Callable[[str], None],
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Make a request for each of the run's samples that awaits one, and keep it: the next run finds it. Nothing on a
    base model without a chat template.

    check: called before every token, and may raise Stopped; what was kept until then stays. note: told how many.
    meanwhile: called after every few texts, with no transaction open and nothing of the model's in hand.
    Raises LostLease, KeyErased.
    """
    if not base.has_chat_template:
        return
    with storage.database.reading() as session:
        waiting = samples.awaiting_prompt(session, storage.keys, claim.user_id, claim.sample_ids)
    made = 0
    for first in range(0, len(waiting), TEXTS_AT_ONCE):
        some = waiting[first : first + TEXTS_AT_ONCE]
        made += _keep(storage, claim, some, requests_for(base, [sample.text for sample in some], check))
        meanwhile()
    if made:
        note(f"Made {'a request for 1 piece' if made == 1 else f'requests for {made} pieces'}")


def _keep(storage: Storage, claim: Claim, some: Sequence[Sample], requests: Sequence[str | None]) -> int:
    """How many were kept. A worker that has lost the run keeps nothing."""
    kept = 0
    with storage.database.session() as session:
        run_claims.hold(session, claim)
        for sample, request in zip(some, requests, strict=True):
            was_kept = samples.set_made_prompt(session, storage.keys, claim.user_id, sample.id, request)
            kept += was_kept and request is not None
    return kept


def requests_for(base: BaseModel, texts: Sequence[str], check: Callable[[], None] = lambda: None) -> list[str | None]:
    """For each text a request it would answer, in the words of the bare base model, its likeliest; None where none came
    that is fit to keep, or the context is too short to ask."""
    check()
    questions = [_question(base, text) for text in texts]
    if not all(questions):
        return [None] * len(texts)
    answers = continuations(base, None, questions, num_tokens=MOST_NEW_TOKENS, temperature=0, check=check)
    return [cleaned(answer, text) for answer, text in zip(answers, texts, strict=True)]


def cleaned(answer: str, text: str) -> str | None:
    """The answer's first line without label, quotes and what is said again and again, if it is a request at all: not
    empty, not left open, not how the text itself begins, at most MAX_PROMPT_CHARS characters."""
    line = next((line for line in answer.splitlines() if _WORDS.search(line)), "")
    line = "".join(char for char in line if char.isprintable() and char != "\ufffd")
    request = _LABEL.sub("", line.strip().strip(_QUOTES)).strip().strip(_QUOTES).strip()[:MAX_PROMPT_CHARS]
    words = _WORDS.findall(request.lower())
    if request.endswith(":") or _echoes(words):
        return None
    begins = _WORDS.findall(text[: 2 * MAX_PROMPT_CHARS].lower())[: len(words)]
    return _once(request) if words and words != begins else None


def _once(request: str) -> str:
    """Without the second and all further times of what is said again and again, and a last one that was cut off."""
    found = _AGAIN.search(request)
    if found is None:
        return request
    said, after = found[1], found[3].strip(" ,;")
    cut_off = said.lower().startswith(after.lower())
    return request[: found.end(1)] if cut_off else f"{request[: found.end(1)]}{found[3]}"


def _echoes(words: list[str]) -> bool:
    """Whether it begins again in its own middle."""
    head = words[:_LEAST_ECHO_WORDS]
    starts = range(1, len(words) - len(head) + 1)
    return len(head) == _LEAST_ECHO_WORDS and any(words[at : at + len(head)] == head for at in starts)


def _question(base: BaseModel, text: str) -> list[int]:
    """The question about the text's beginning, in the model's own form; empty where the context has no room for it."""
    around = len(base.encode_request(_QUESTION.format(excerpt="")))
    room = min(EXCERPT_TOKENS, base.context_length - MOST_NEW_TOKENS - around)
    ids = base.encode(text[: 40 * EXCERPT_TOKENS], document_start=False)
    while room >= LEAST_EXCERPT_TOKENS:  # words cut out of their text may take another token or two
        asked = base.encode_request(_QUESTION.format(excerpt=base.decode(ids[:room]).rstrip("\ufffd")))
        if len(asked) <= base.context_length - MOST_NEW_TOKENS:
            return asked
        room -= 1
    return []
