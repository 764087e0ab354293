"""What a text says of itself: title, paragraphs, sentences, its most central sentence, its key words, whose turn it is.
Everything here is found in the text and nothing is made up. Knows no request and no model."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from math import log

LEAST_CHARS, MOST_CHARS = 160, 1_200  # of a paragraph worth asking for, and of an answer
_WORD = re.compile(r"[A-Za-z][a-z'’-]{2,}")
_END = re.compile(r"[.!?…][\"”’)]*\s+(?=[\"“‘(]?[A-Z0-9])")
_ABBREVIATED = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Prof|Rev|Hon|No|vs|etc|e\.g|i\.e)|\b[A-Z])\.\s*$")
_ENDS_WELL = re.compile(r"[.!?…][\"”’)]*$")
_TURN = re.compile(r"^\**([A-Z][\w.'’-]*(?: [A-Z][\w.'’-]*){0,3})\**:\s+(.+)$", re.DOTALL)
_HEADING = re.compile(r"^(?:chapter|book|part|section|volume|act|scene|appendix)\b|^[IVXLC]+\.?$", re.IGNORECASE)
_TITLE_CHARS, _TITLE_WORDS = 80, (2, 12)
_LEAST_PROSE = 0.9  # of a paragraph's characters, the letters and spaces: tables and code have fewer


def title_and_body(text: str) -> tuple[str, str] | None:
    """A first line that is a title, and what stands under it."""
    line, _, rest = text.strip().partition("\n")
    title = line.strip().lstrip("#").strip(" *")
    words = len(title.split())
    fits = len(title) <= _TITLE_CHARS and _TITLE_WORDS[0] <= words <= _TITLE_WORDS[1]
    if not fits or not title[0].isupper() or title[-1] in ".,;:!-—" or ": " in title or _HEADING.search(title):
        return None
    body = rest.strip()
    first = body.partition("\n")[0]
    return (title, body) if is_prose(first) else None


def paragraphs(text: str) -> list[str]:
    """Those of prose, whole, and of a length worth asking for."""
    found = (line.strip() for line in text.split("\n"))
    return [one for one in found if LEAST_CHARS <= len(one) <= MOST_CHARS and is_prose(one) and not _TURN.match(one)]


def is_prose(paragraph: str) -> bool:
    """Whether it begins like a sentence, ends like one, and consists of words."""
    if not paragraph or not _ENDS_WELL.search(paragraph) or not re.match(r"[\"“‘(]?[A-Z]", paragraph):
        return False
    return sum(char.isalpha() or char == " " for char in paragraph) >= _LEAST_PROSE * len(paragraph)


def sentences(paragraph: str) -> list[str]:
    """In order; joined by spaces they are the paragraph."""
    found, start = [], 0
    for end in _END.finditer(paragraph):
        if not _ABBREVIATED.search(paragraph[start : end.end()]):
            found.append(paragraph[start : end.end()].strip())
            start = end.end()
    return [*found, paragraph[start:].strip()]


def whole_sentences(text: str, most: int = MOST_CHARS) -> str:
    """The beginning of the text up to the end of a sentence, `most` characters long at most; "" if there is no such."""
    if len(text) <= most:
        return text.strip()
    ends = [end.start() for end in re.finditer(r"(?<=[.!?…])(?=[\"”’)]*\s)", text[:most])]
    if not ends:
        return ""
    closing = re.match(r"[\"”’)]*", text[ends[-1] :])
    return text[: ends[-1] + (closing.end() if closing else 0)].strip()


def central_sentence(paragraph: str) -> str | None:
    """The one that shares most words with the others; None where no sentence shares any, or there are too few."""
    found = sentences(paragraph)
    bags = [{word.lower() for word in _WORD.findall(sentence) if len(word) > 3} for sentence in found]
    if len(found) < 4:
        return None
    shared = [
        sum(len(bag & other) / (1 + len(bag)) for other in bags if other is not bag) / (len(bags) - 1) for bag in bags
    ]
    best = max(range(len(found)), key=shared.__getitem__)
    return found[best] if shared[best] > 0 else None


def document_frequencies(texts: Iterable[str]) -> dict[str, float]:
    """Word -> share of the texts that have it, of words that more than one text has."""
    counts: Counter[str] = Counter()
    number = 0
    for number, text in enumerate(texts, 1):  # noqa: B007 - how many there were
        counts.update({word.lower() for word in _WORD.findall(text)})
    return {word: count / number for word, count in counts.items() if count > 1}


def keywords(paragraph: str, frequencies: Mapping[str, float], most: int = 4) -> list[str]:
    """The words that tell this paragraph from other texts, in the order in which they appear."""
    counts = Counter(word for word in map(str.lower, _WORD.findall(paragraph)) if len(word) > 3 and word in frequencies)
    weights = {word: count * -log(frequencies[word]) for word, count in counts.items()}
    best = sorted(weights, key=lambda word: (-weights[word], word))[:most]
    return sorted(best, key=paragraph.lower().index)


def turns(text: str) -> list[tuple[str, str]]:
    """(speaker, what is said) of a transcript, in order; lines without a speaker belong to the turn before."""
    found: list[tuple[str, str]] = []
    for line in filter(None, map(str.strip, text.split("\n"))):
        if said := _TURN.match(line):
            found.append((said.group(1), said.group(2).strip()))
        elif found:
            speaker, before = found[-1]
            found[-1] = (speaker, f"{before}\n{line}")
    return found
