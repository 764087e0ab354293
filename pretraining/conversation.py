"""Requests and their answers, derived from openly licensed text: the answer is a stretch of that text, word for word,
and the request is worded around what was found in it; or, turned round, the text is given and the request is answered.
Knows no tokenizer and no model."""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, islice, pairwise

from pretraining.corpus import Document
from pretraining.passages import (
    MOST_CHARS,
    central_sentence,
    keywords,
    paragraphs,
    sentences,
    title_and_body,
    turns,
    whole_sentences,
)
from pretraining.phrasings import ASKINGS, DEFAULT_FORM, FORMS, PHRASINGS, REGISTERS

_WEIGHTS = (2, 2, 1)  # of an opening, a summary and key words
_REGISTER_SHARE = 0.25  # of conversations of a source with a register, those whose system message asks for it
_TURNED = ("title", "keywords")  # a request of these kinds tells what its text is about, and little of its words
_TURNED_SHARE = 0.6
_ASKING_WEIGHTS = (2, 1, 1)  # the platform's own wording first
_MOST_EXCERPT = 900  # characters
_MOST_GIVEN = 300  # characters of a request
_LEAST_ANSWER = 60
_LEAST_WORDS = 3  # to ask for a paragraph by its key words
_TWO_PEOPLE = {"User": "Assistant", "A": "B"}
Way = Callable[[str], tuple[str, str, str] | None]  # paragraph -> kind, what is given, answer
TRANSCRIPTS = ("changelog",)
DIALOGUES = ("dialogues",)


@dataclass(frozen=True)
class Conversation:
    """turns: (request, answer), at least one. system: what is said before them, or ""."""

    kind: str
    turns: tuple[tuple[str, str], ...]
    system: str = ""


@dataclass(frozen=True)
class Deriver:
    """frequencies: word -> share of documents that have it. most: conversations of one document."""

    frequencies: Mapping[str, float]
    most: int = 4

    def conversations(self, document: Document, drawn: random.Random) -> list[Conversation]:
        """What can be asked for in this document, at most `most`, by the kind of its source."""
        if document.source in DIALOGUES:
            found: Iterable[Conversation] = _dialogue(document, drawn)
        elif document.source in TRANSCRIPTS:
            found = _replies(document, drawn)
        else:
            found = chain(self._title(document, drawn), self._of_paragraphs(document, drawn))
        return [_turned_round(one, drawn) for one in islice(found, self.most)]

    def _title(self, document: Document, drawn: random.Random) -> Iterator[Conversation]:
        if found := title_and_body(document.text):
            title, body = found
            yield from _asked("title", title, whole_sentences(body), document, drawn)

    def _of_paragraphs(self, document: Document, drawn: random.Random) -> Iterator[Conversation]:
        """Each paragraph is tried in one way only: all have key words, and few a central sentence."""
        ways: tuple[Way, ...] = (_opening, _summary, self._keywords)
        found = paragraphs(document.text)
        for paragraph in drawn.sample(found, len(found)):
            (way,) = drawn.choices(ways, _WEIGHTS)
            if asked := way(paragraph):
                yield from _asked(*asked, document, drawn)

    def _keywords(self, paragraph: str) -> tuple[str, str, str] | None:
        words = keywords(paragraph, self.frequencies)
        return ("keywords", ", ".join(words), paragraph) if len(words) >= _LEAST_WORDS else None


def _opening(paragraph: str) -> tuple[str, str, str] | None:
    first, *rest = sentences(paragraph)
    return ("opening", first, paragraph[len(first) :].strip()) if len(rest) >= 2 else None


def _summary(paragraph: str) -> tuple[str, str, str] | None:
    sentence = central_sentence(paragraph)
    return None if sentence is None else ("summary", sentence, paragraph)


def _dialogue(document: Document, drawn: random.Random) -> list[Conversation]:
    """The turns as they are, as many as fit, from the first of the one who asks."""
    said = turns(document.text)
    asks = next((speaker for speaker, _ in said if speaker in _TWO_PEOPLE), "")
    pairs: list[tuple[str, str]] = []
    for (asking, request), (answering, answer) in pairwise(said):
        if (asking, answering) != (asks, _TWO_PEOPLE.get(asks)):
            continue
        if sum(map(len, chain(*pairs, (request, answer)))) > MOST_CHARS:
            break
        pairs.append((request, answer))
    return [Conversation("dialogue", tuple(pairs), _register(document.source, drawn))] if pairs else []


def _replies(document: Document, drawn: random.Random) -> list[Conversation]:
    """Questions of a transcript that another speaker answered at some length, in no order."""
    said = turns(document.text)
    found = [
        conversation
        for (asking, question), (answering, answer) in pairwise(said)
        if asking != answering
        and question.endswith("?")
        and "\n" not in question
        and len(question.split()) >= _LEAST_WORDS
        for conversation in _asked("reply", question, whole_sentences(answer), document, drawn)
    ]
    return drawn.sample(found, len(found))


def _asked(kind: str, given: str, answer: str, document: Document, drawn: random.Random) -> Iterator[Conversation]:
    if len(given) > _MOST_GIVEN or len(answer) < _LEAST_ANSWER:
        return
    form = FORMS.get(document.source, DEFAULT_FORM)
    request = drawn.choice(PHRASINGS[kind]).format(form=form, given=given)
    yield Conversation(kind, ((request, answer),), _register(document.source, drawn))


def _turned_round(asked: Conversation, drawn: random.Random) -> Conversation:
    """For some requests, which request their answer answers."""
    if asked.kind not in _TURNED or drawn.random() >= _TURNED_SHARE:
        return asked
    ((request, answer),) = asked.turns
    (wording,) = drawn.choices(ASKINGS, _ASKING_WEIGHTS)
    question = wording.format(excerpt=answer[:_MOST_EXCERPT].rstrip())
    return replace(asked, kind="asking", turns=((question, request),), system="")


def _register(source: str, drawn: random.Random) -> str:
    known = REGISTERS.get(source)
    return drawn.choice(known) if known and drawn.random() < _REGISTER_SHARE else ""
